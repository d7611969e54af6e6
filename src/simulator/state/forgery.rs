//! Forged requests, which Linktree would never send, to demonstrate how a receiver handles them. They do not change the
//! state: no delivery, no failure.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{State, rejection::Rejection, sending::Request};
use crate::linktree::{event::EventType, wire::SubscriptionId};

/// Age of a stale forgery, well above the 300 seconds that a receiver allows (known).
const STALE_SECONDS: i64 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forgery {
    /// A new event, signed with a wrong secret.
    WrongSignature,
    /// A new event without signature and timestamp.
    Unsigned,
    /// A new event, signed correctly, an hour ago.
    Stale,
    /// The last accepted delivery again, unchanged.
    Repeat,
    /// The last accepted delivery again under a new id, as an attacker with a captured request might do.
    Replay,
}

impl State {
    /// A forged request to the url of `to`.
    ///
    /// # Errors
    /// 404 if the subscription does not exist; 409 for a repetition before any delivery was accepted.
    pub fn forge(&mut self, to: &SubscriptionId, forgery: Forgery, real: Timestamp) -> Result<Request, Rejection> {
        let subscription = self.subscriptions.get(to).ok_or(Rejection::NotFound)?;
        let (url, secret) = (subscription.url.clone(), subscription.secret.clone());
        let now = self.clock.on_the_wire(self.clock.now(real));
        let data = json!({"link_id": "lnk_forged", "title": "Forged", "url": "https://example.com/", "position": 0});
        let body = self.body(&EventType::LinkCreated, &data, now);
        let id = self.ids.delivery();
        Ok(match forgery {
            Forgery::WrongSignature => Request::signed(url, id, &self.ids.signing_secret(), now, body),
            Forgery::Unsigned => Request { url, delivery_id: id, signed: None, body },
            Forgery::Stale => Request::signed(url, id, &secret, now - STALE_SECONDS, body),
            Forgery::Repeat => self.last_accepted(to, &url)?,
            Forgery::Replay => Request { delivery_id: id, ..self.last_accepted(to, &url)? },
        })
    }

    fn last_accepted(&self, to: &SubscriptionId, url: &str) -> Result<Request, Rejection> {
        let deliveries = self.deliveries.iter().rev().filter(|it| it.subscription == *to);
        let mut accepted = deliveries.filter_map(|it| {
            let attempt = it.attempts.iter().find(|attempt| attempt.answer.is_success())?;
            Some(Request {
                url: url.to_owned(),
                delivery_id: it.id.clone(),
                signed: attempt.signed.clone(),
                body: it.body.clone(),
            })
        });
        accepted.next().ok_or_else(|| Rejection::Impossible("no delivery was accepted yet".to_owned()))
    }
}

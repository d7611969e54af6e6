//! Requests that Linktree would never send, for showing how a receiver takes them. They leave no trace in the
//! simulator: no delivery, no failure clock.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{State, refusal::Refusal, sender::body, sending::Request};
use crate::linktree::{event::EventType, wire::SubscriptionId};

/// How old a stale forgery is: well past the 300 seconds a receiver allows (known).
const STALE_SECONDS: i64 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forgery {
    /// A new event, signed by somebody who does not know the secret.
    WrongSignature,
    /// A new event without signature and timestamp.
    Unsigned,
    /// A new event, rightly signed, an hour ago.
    Stale,
    /// The last accepted delivery once more, as it was.
    Repeat,
    /// The last accepted delivery once more under a fresh id, as somebody might who had captured it.
    Replay,
}

impl State {
    /// The forged request to the url of `to`.
    ///
    /// # Errors
    /// 404 without such a subscription; 409 for a repetition when nothing was accepted yet.
    pub fn forge(&mut self, to: &SubscriptionId, forgery: Forgery, real: Timestamp) -> Result<Request, Refusal> {
        let subscription = self.subscriptions.get(to).ok_or(Refusal::NotFound)?;
        let (url, secret) = (subscription.url.clone(), subscription.secret.clone());
        let now = self.clock.on_the_wire(self.clock.now(real));
        let data = json!({"link_id": "lnk_forged", "title": "Forged", "url": "https://example.com/", "position": 0});
        let body = body(&EventType::LinkCreated, &data, now)?;
        let id = self.ids.delivery();
        Ok(match forgery {
            Forgery::WrongSignature => Request::signed(url, id, &self.ids.signing_secret(), now, body),
            Forgery::Unsigned => Request { url, delivery_id: id, signed: None, body },
            Forgery::Stale => Request::signed(url, id, &secret, now - STALE_SECONDS, body),
            Forgery::Repeat => self.last_accepted(to, &url)?,
            Forgery::Replay => Request { delivery_id: id, ..self.last_accepted(to, &url)? },
        })
    }

    fn last_accepted(&self, to: &SubscriptionId, url: &str) -> Result<Request, Refusal> {
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
        accepted.next().ok_or_else(|| Refusal::Impossible("no delivery was accepted yet".to_owned()))
    }
}

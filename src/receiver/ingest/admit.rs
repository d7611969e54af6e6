//! Decides whether a request is a delivery that Linktree signed. Pure: no clock, no IO, no journal; whether it has come
//! before is the journal's to say.
//!
//! It has two halves, so that a request without credentials costs nothing: [`Credentials::read`] looks at the header
//! alone, before the body is read; [`admit`] verifies.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::event::Event;
use crate::{
    linktree::{
        headers::{self, DeliveryId, SentAt},
        signature::Signature,
    },
    route::{Key, Route, StaleDeliveryPolicy},
};

/// What a delivery carries in its header, in strict grammar but not yet verified.
#[derive(Clone, Debug)]
pub struct Credentials {
    signature: Signature,
    sent_at: SentAt,
    /// `None` where it is absent, doubled or malformed: it is not signed, so it cannot discredit a delivery.
    delivery_id: Option<DeliveryId>,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The signature or the timestamp header is absent or empty (the page: 401).
    MissingHeader,
    /// Signature or timestamp do not follow their grammar, or came twice.
    Malformed,
    /// No key made this signature. `recent` when its timestamp was inside the window: then either somebody forges, or
    /// our keys are not Linktree's.
    Unverified { recent: bool },
    /// A key made this signature, but `off` seconds ago, which is too long, or in the future, where it is negative.
    Stale { off: i64 },
    /// There is no key yet to verify with: our fault, not the sender's.
    NoKeys,
}

impl Credentials {
    /// Reads the credentials of a request.
    ///
    /// # Errors
    /// [`Rejection::MissingHeader`] or [`Rejection::Malformed`].
    pub fn read(header: &HeaderMap) -> Result<Self, Rejection> {
        let signature = single(header, headers::SIGNATURE)?;
        let sent_at = single(header, headers::TIMESTAMP)?;
        Ok(Credentials {
            signature: Signature::from_hex(signature).ok_or(Rejection::Malformed)?,
            sent_at: SentAt::parse(sent_at).ok_or(Rejection::Malformed)?,
            delivery_id: single(header, headers::DELIVERY_ID).ok().and_then(DeliveryId::parse),
        })
    }
}

/// When a delivery may have been signed, in seconds before or after it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    tolerance: i64,
    oldest: i64,
}

impl Window {
    /// What a route allows. With `AcceptOnce` a delivery may be so old that it would still be remembered had it come
    /// before. It may then have come `tolerance` earlier than it was signed, and been forgotten that much sooner.
    #[must_use]
    pub fn of(route: &Route) -> Self {
        let tolerance = i64::from(route.timestamp_tolerance_seconds);
        let remembered = i64::try_from(route.deduplication_window_seconds).unwrap_or(i64::MAX);
        let oldest = match route.stale_delivery_policy {
            StaleDeliveryPolicy::Reject => tolerance,
            StaleDeliveryPolicy::AcceptOnce => tolerance.max(remembered.saturating_sub(tolerance) - 1),
        };
        Window { tolerance, oldest }
    }

    fn is_recent(self, age: i64) -> bool {
        (-self.tolerance..=self.tolerance).contains(&age)
    }

    fn allows(self, age: i64) -> bool {
        (-self.tolerance..=self.oldest).contains(&age)
    }
}

/// Verifies a delivery against the keys in their order. The comparison takes the same time wherever the MACs differ.
///
/// # Errors
/// Why it is not admitted; [`Rejection::MissingHeader`] and [`Rejection::Malformed`] do not occur any more.
pub fn admit(
    keys: &[Key],
    window: Window,
    credentials: &Credentials,
    body: Bytes,
    now: Timestamp,
) -> Result<Event, Rejection> {
    if keys.is_empty() {
        return Err(Rejection::NoKeys);
    }
    let Credentials { signature, sent_at, delivery_id } = credentials;
    let age = now.as_second().saturating_sub(sent_at.seconds());
    match keys.iter().find(|key| signature.verifies(&key.secret, sent_at, &body)) {
        None => Err(Rejection::Unverified { recent: window.is_recent(age) }),
        Some(_) if !window.allows(age) => Err(Rejection::Stale { off: age }),
        Some(key) => Ok(Event::new(delivery_id.as_ref(), signature, sent_at, &key.name, body, now.as_second())),
    }
}

/// The one value of a header. Empty counts as absent, as it does in the page's own handler.
fn single<'a>(header: &'a HeaderMap, name: &str) -> Result<&'a [u8], Rejection> {
    let mut values = header.get_all(name).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None | Some([]), None) => Err(Rejection::MissingHeader),
        (Some(value), None) => Ok(value),
        (_, Some(_)) => Err(Rejection::Malformed),
    }
}

#[cfg(test)]
mod tests;

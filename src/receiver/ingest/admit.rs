//! Decides whether a request is a delivery that Linktree signed. Pure: no clock, no IO, no journal; the journal detects
//! duplicates.
//!
//! It has two halves, so that a request without credentials costs nothing: [`Credentials::read`] parses the headers
//! before the body is read; [`admit`] verifies the signature.

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

/// The credentials of a delivery, parsed from its headers but not yet verified.
#[derive(Clone, Debug)]
pub struct Credentials {
    signature: Signature,
    sent_at: SentAt,
    /// `None` if absent, repeated or malformed: the id is not signed, so it cannot discredit a delivery.
    delivery_id: Option<DeliveryId>,
}

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The signature or the timestamp header is absent or empty (the Linktree page: 401).
    MissingHeader,
    /// The signature or the timestamp is malformed or repeated. `recent` if only the form of the signature is wrong, such
    /// as its length, and the timestamp is inside the window: as for an unverified one, our keys may not be Linktree's.
    Malformed { recent: bool },
    /// No key verifies the signature. `recent` if its timestamp is inside the window: then either the request is
    /// forged, or our keys are not Linktree's.
    Unverified { recent: bool },
    /// The signature is valid but its timestamp is outside the window: `off` seconds ago, or negative in the future.
    Stale { off: i64 },
    /// There is no key yet to verify with: a failure of ours, not of the sender.
    NoKeys,
}

impl Credentials {
    /// Parses the credentials of a request that arrived at `now`.
    ///
    /// # Errors
    /// [`Rejection::MissingHeader`] or [`Rejection::Malformed`].
    pub fn read(header: &HeaderMap, window: Window, now: Timestamp) -> Result<Self, Rejection> {
        let signature = single(header, headers::SIGNATURE)?;
        let sent_at = single(header, headers::TIMESTAMP)?;
        let sent_at = SentAt::parse(sent_at).ok_or(Rejection::Malformed { recent: false })?;
        let recent = window.is_recent(age(&sent_at, now));
        Ok(Credentials {
            signature: Signature::from_hex(signature).ok_or(Rejection::Malformed { recent })?,
            sent_at,
            delivery_id: single(header, headers::DELIVERY_ID).ok().and_then(DeliveryId::parse),
        })
    }
}

/// The accepted age of a delivery, in seconds before or after its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    tolerance: i64,
    oldest: i64,
}

impl Window {
    /// The window of a route. With `AcceptOnce` a delivery may be as old as the deduplication window allows, less the
    /// tolerance: its first copy may have come `tolerance` before the signed time, and its identity expires that much
    /// sooner.
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

/// Verifies a delivery against the keys in their order. The comparison takes constant time.
///
/// # Errors
/// Why it is rejected, except [`Rejection::MissingHeader`] and [`Rejection::Malformed`].
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
    let age = age(sent_at, now);
    match keys.iter().find(|key| signature.verifies(&key.secret, sent_at, &body)) {
        None => Err(Rejection::Unverified { recent: window.is_recent(age) }),
        Some(_) if !window.allows(age) => Err(Rejection::Stale { off: age }),
        Some(key) => Ok(Event::new(delivery_id.as_ref(), signature, sent_at, &key.name, body, now.as_second())),
    }
}

/// Seconds from the signing of a delivery to its arrival.
fn age(sent_at: &SentAt, now: Timestamp) -> i64 {
    now.as_second().saturating_sub(sent_at.seconds())
}

/// The single value of a header. An empty value counts as absent, as in the Linktree page's own handler.
fn single<'a>(header: &'a HeaderMap, name: &str) -> Result<&'a [u8], Rejection> {
    let mut values = header.get_all(name).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None | Some([]), None) => Err(Rejection::MissingHeader),
        (Some(value), None) => Ok(value),
        (_, Some(_)) => Err(Rejection::Malformed { recent: false }),
    }
}

#[cfg(test)]
mod tests;

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
    route::Key,
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
pub enum Refusal {
    /// The signature or the timestamp header is absent or empty (the page: 401).
    MissingHeader,
    /// Signature or timestamp do not follow their grammar, or came twice.
    Malformed,
    /// No key made this signature. `recent` when its timestamp was inside the window: then either somebody forges, or
    /// our keys are not Linktree's.
    Unverified { recent: bool },
    /// A key made this signature, but too long ago, or in the future.
    Stale,
    /// There is no key yet to verify with: our fault, not the sender's.
    NoKeys,
}

impl Credentials {
    /// Reads the credentials of a request.
    ///
    /// # Errors
    /// [`Refusal::MissingHeader`] or [`Refusal::Malformed`].
    pub fn read(header: &HeaderMap) -> Result<Self, Refusal> {
        let signature = single(header, headers::SIGNATURE)?;
        let sent_at = single(header, headers::TIMESTAMP)?;
        Ok(Credentials {
            signature: Signature::from_hex(signature).ok_or(Refusal::Malformed)?,
            sent_at: SentAt::parse(sent_at).ok_or(Refusal::Malformed)?,
            delivery_id: single(header, headers::DELIVERY_ID).ok().and_then(DeliveryId::parse),
        })
    }

    /// Whether it was signed at most `tolerance_seconds` before or after `now`.
    fn recent(&self, tolerance_seconds: u32, now: Timestamp) -> bool {
        now.as_second().abs_diff(self.sent_at.seconds()) <= u64::from(tolerance_seconds)
    }
}

/// Verifies a delivery against the keys in their order. The comparison takes the same time wherever the MACs differ.
///
/// # Errors
/// Why it is not admitted; [`Refusal::MissingHeader`] and [`Refusal::Malformed`] do not occur any more.
pub fn admit(
    keys: &[Key],
    tolerance_seconds: u32,
    credentials: &Credentials,
    body: Bytes,
    now: Timestamp,
) -> Result<Event, Refusal> {
    if keys.is_empty() {
        return Err(Refusal::NoKeys);
    }
    let Credentials { signature, sent_at, delivery_id } = credentials;
    let recent = credentials.recent(tolerance_seconds, now);
    match keys.iter().find(|key| signature.verifies(&key.secret, sent_at, &body)) {
        None => Err(Refusal::Unverified { recent }),
        Some(_) if !recent => Err(Refusal::Stale),
        Some(key) => Ok(Event::new(delivery_id.as_ref(), signature, sent_at, &key.name, body, now.as_second())),
    }
}

/// The one value of a header. Empty counts as absent, as it does in the page's own handler.
fn single<'a>(header: &'a HeaderMap, name: &str) -> Result<&'a [u8], Refusal> {
    let mut values = header.get_all(name).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None | Some([]), None) => Err(Refusal::MissingHeader),
        (Some(value), None) => Ok(value),
        (_, Some(_)) => Err(Refusal::Malformed),
    }
}

#[cfg(test)]
mod tests;

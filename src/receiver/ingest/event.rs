//! A verified delivery as it is stored and forwarded, and its identity for deduplication. No IO.

use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::linktree::{
    event::EventType,
    headers::{DeliveryId, SentAt},
    json,
    signature::Signature,
};

/// The longest event type that is stored as it came; the documented ones have under 20 bytes.
const EVENT_TYPE_MAX: usize = 128;
/// The type of an event without a valid `type`.
const NO_TYPE: &str = "unknown";

/// A verified delivery. All content comes from the sender, so none of it is printed unescaped.
#[derive(Clone, Debug)]
pub struct Event {
    /// The delivery id, or a name derived from the signature if there is no valid id.
    pub id: String,
    pub event_type: EventType,
    /// When it was signed, in seconds since the epoch.
    pub sent_at: i64,
    /// When it was received, in seconds since the epoch.
    pub received_at: i64,
    /// The name of the key that verified it.
    pub key: String,
    pub identity: Identity,
    /// The stored body: as it was signed, byte for byte, except for redacted values. `identity` is of the signed one.
    pub body: Bytes,
}

/// The first half of a SHA-256.
pub type HalfDigest = [u8; 16];

/// The identity for deduplication. The signature does not cover the delivery id, so the id does not suffice: the same
/// id with another body is another event, and the same signature under another id is the same one. A signature depends
/// only on key, second and body, so second and body represent it, with 4 bytes of it to distinguish keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub delivery: HalfDigest,
    pub body: HalfDigest,
    /// Distinguishes signatures of different keys.
    pub signature: [u8; 4],
}

impl Identity {
    #[must_use]
    pub fn of(id: &str, signature: &Signature, body: &[u8]) -> Self {
        let [a, b, c, d, ..] = half_digest(signature.as_bytes());
        Identity { delivery: half_digest(id.as_bytes()), body: half_digest(body), signature: [a, b, c, d] }
    }
}

/// The id of an event. A verified delivery without a valid id is stored under a name derived from its signature, so
/// that at least an exact repetition is recognised.
#[must_use]
pub fn name(delivery_id: Option<&DeliveryId>, signature: &Signature) -> String {
    match delivery_id {
        Some(id) => id.as_str().to_owned(),
        None => format!("unidentified-{}", hex::encode(half_digest(signature.as_bytes()))),
    }
}

/// The `type` of a delivery's body. A verified body is always stored: if it is not a JSON object, or its type is
/// absent, too long or not printable ASCII, the type is unknown.
#[must_use]
pub fn event_type(body: &[u8]) -> EventType {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        event_type: EventType,
    }
    // serde also reads a struct from an array.
    let object = body.trim_ascii_start().starts_with(b"{");
    let event_type = match serde_json::from_slice(body) {
        Ok(Typed { event_type }) => Some(event_type).filter(|_| object),
        // Slower, and reads everything that the sinks read.
        Err(_) => json::read(body).ok().and_then(|value| Some(EventType::named(value.get("type")?.as_str()?))),
    };
    let unknown = || EventType::Unknown(NO_TYPE.to_owned());
    event_type.filter(|event_type| printable(event_type.as_str())).unwrap_or_else(unknown)
}

impl Event {
    /// Builds an event from the verified parts of a delivery.
    #[must_use]
    pub fn new(
        delivery_id: Option<&DeliveryId>,
        signature: &Signature,
        sent_at: &SentAt,
        key: &str,
        body: Bytes,
        now: i64,
    ) -> Self {
        let id = name(delivery_id, signature);
        Event {
            identity: Identity::of(&id, signature, &body),
            id,
            event_type: event_type(&body),
            sent_at: sent_at.seconds(),
            received_at: now,
            key: key.to_owned(),
            body,
        }
    }
}

fn printable(name: &str) -> bool {
    (1..=EVENT_TYPE_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The first half of the SHA-256 of `bytes`.
#[must_use]
pub fn half_digest(bytes: &[u8]) -> HalfDigest {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut half = HalfDigest::default();
    half.copy_from_slice(&digest[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verified_body_has_a_type() {
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(EVENT_TYPE_MAX + 1));
        for (body, expected) in [
            (r#"{"type":"link.created","data":{}}"#, "link.created"),
            (r#"{"type":"collection.created"}"#, "collection.created"),
            (r#"{"data":{}}"#, NO_TYPE),
            (r#"{"type":7}"#, NO_TYPE),
            (r#"{"type":""}"#, NO_TYPE),
            (r#"{"type":"a\r\nb"}"#, NO_TYPE),
            (r#"["link.created"]"#, NO_TYPE),
            ("not json", NO_TYPE),
            ("", NO_TYPE),
            (&long, NO_TYPE),
            ("\u{FEFF}{\"type\":\"link.created\"}", "link.created"),
            (r#"{"type":"link.created","type":"link.updated","data":{}}"#, "link.updated"),
            (r#"{"type":"link.created","data":"\ud83d"}"#, "link.created"),
            (r#"{"type":"link.created\ud83d"}"#, NO_TYPE),
        ] {
            assert_eq!(event_type(body.as_bytes()).as_str(), expected, "{body}");
        }
    }
}

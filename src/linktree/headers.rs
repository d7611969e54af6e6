//! The headers of a delivery, and their strict grammar.

/// A hex HMAC-SHA256, see [`super::signature`].
pub const SIGNATURE: &str = "x-linktree-signature";
/// The time of signing, in seconds since the epoch.
pub const TIMESTAMP: &str = "x-linktree-timestamp";
/// The id of the delivery, the same for all its retries. The signature does not cover it.
pub const DELIVERY_ID: &str = "x-linktree-delivery-id";

/// The longest accepted delivery id, in bytes. Assumed: Linktree's ids are far shorter.
pub const DELIVERY_ID_MAX: usize = 128;

/// The signed timestamp, exactly as received: 1 to 11 ASCII digits, no sign, no leading zero, no dot. The grammar is
/// strict because the signature covers `"{timestamp}.{body}"`: with a dot in the timestamp one signature would fit two
/// readings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SentAt {
    text: String,
    seconds: i64,
}

impl SentAt {
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits = (1..=11).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        if !digits || (text.len() > 1 && text[0] == b'0') {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        Some(SentAt { seconds: text.parse().ok()?, text: text.to_owned() })
    }

    /// The timestamp of a delivery signed at `seconds` since the epoch; `None` if the grammar cannot express it.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        SentAt::parse(seconds.to_string().as_bytes())
    }

    /// Seconds since the epoch.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A delivery id: 1 to [`DELIVERY_ID_MAX`] printable ASCII characters without spaces, so that it needs no escaping in a
/// log line, a header or a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId(String);

impl DeliveryId {
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let fits = (1..=DELIVERY_ID_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        fits.then(|| DeliveryId(String::from_utf8_lossy(text).into_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_one_spelling() {
        for good in ["0", "7", "1700000000", "99999999999"] {
            assert_eq!(SentAt::parse(good.as_bytes()).map(|at| at.as_str().to_owned()), Some(good.to_owned()));
        }
        for bad in ["", "-1", "+1", "01", "00", "1.0", "1e9", " 1", "1 ", "100000000000", "１７"] {
            assert_eq!(SentAt::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn delivery_ids_are_printable_and_bounded() {
        assert!(DeliveryId::parse(b"dlv_01H").is_some());
        for bad in ["", "a b", "a\n", "é", &"x".repeat(DELIVERY_ID_MAX + 1)] {
            assert_eq!(DeliveryId::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}

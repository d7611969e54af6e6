//! Reads the `Retry-After` header of a response.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};
use jiff::Timestamp;

/// The longest delay that [`read`] returns; a longer one is shortened to it, because one request an hour overloads no
/// server.
pub const MAX: Duration = Duration::from_secs(3600);

/// The delay in `Retry-After`, given in seconds or as an HTTP date (RFC 9110, section 10.2.3): at most [`MAX`], zero
/// for a date in the past, `None` if the header is absent or invalid.
#[must_use]
pub fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = if let Some(seconds) = seconds(value) {
        seconds
    } else {
        // `duration_since` fails only for a date in the past: the delay is then zero.
        httpdate::parse_http_date(value).ok()?.duration_since(now.into()).unwrap_or_default()
    };
    Some(delay.min(MAX))
}

/// A delay in seconds. Some servers send a fraction, which RFC 9110 does not have: it is rounded up.
fn seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // A number too large for a u64 is a valid delay too; `MAX` then shortens it.
    let up = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(Duration::from_secs(whole.parse().unwrap_or(u64::MAX).saturating_add(up)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(value: &str) -> Option<Duration> {
        // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
        let now = Timestamp::from_second(784_111_777).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        read(&headers, now)
    }

    #[test]
    fn every_spelling_is_read_and_absurd_delays_are_capped() {
        let seconds = |n| Some(Duration::from_secs(n));
        for (value, expected) in [
            ("0", seconds(0)),
            ("17", seconds(17)),
            ("17.5", seconds(18)),
            ("0.001", seconds(1)),
            ("3.000", seconds(3)),
            ("99999999999999999999999999.9", Some(MAX)),
            ("99999999999999999999999999", Some(MAX)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", seconds(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", seconds(30)),
            ("Sun Nov  6 08:50:07 1994", seconds(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", seconds(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(MAX)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(delay(value), expected, "{value:?}");
        }
    }

    #[test]
    fn obsolete_spellings_follow_the_rules_of_the_preferred_one() {
        for (value, expected) in [
            ("Sunday, 06-Nov-94 08:49:07 GMT", Some(Duration::ZERO)),
            ("Sun Nov  6 08:49:07 1994", Some(Duration::ZERO)),
            ("Sunday, 06-Nov-94 10:49:37 GMT", Some(MAX)),
            ("Sun Nov  6 10:49:37 1994", Some(MAX)),
        ] {
            assert_eq!(delay(value), expected, "{value:?}");
        }
    }

    #[test]
    fn an_invalid_date_is_ignored() {
        for value in [
            "Mon, 06 Nov 1994 08:50:07 GMT",
            "Wed, 31 Feb 1994 08:50:07 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:50:07 UTC",
            "Sun, 06 Nov 1994 08:50:07 +0000",
            "Sun, 6 Nov 1994 08:50:07 GMT",
            "1994-11-06T08:50:07Z",
            "17.",
            ".5",
            "1.2.3",
            "1e3",
            "+17",
        ] {
            assert_eq!(delay(value), None, "{value:?}");
        }
    }
}

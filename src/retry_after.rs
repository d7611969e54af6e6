//! Reads the `Retry-After` of an answer, whoever gave it.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

/// The longest `Retry-After` that is believed. Longer ones are absurd or hostile: trying once an hour harms no one.
pub const MAX: Duration = Duration::from_secs(3600);

/// `Retry-After` as seconds or as a date (RFC 9110, section 10.2.3), at most [`MAX`]; a date that has
/// passed is zero, anything else is ignored.
#[must_use]
pub fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds are still a number, only an absurd one.
        value.parse().unwrap_or(u64::MAX)
    } else {
        u64::try_from(http_date(value)?.as_second().saturating_sub(now.as_second())).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds).min(MAX))
}

/// The three spellings a recipient must accept (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].into_iter().find_map(|format| {
        let date = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        // The last day of the year 9999 is a date, but past the end of what a timestamp holds.
        Some(date.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |date| date.timestamp()))
    })
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
}

//! Why an attempt to deliver an event failed. Pure.

use std::{fmt, net::IpAddr, time::Duration};

use super::excerpt::Excerpt;
use crate::egress::Denied;

/// Why an attempt failed. Of the response it contains the status, `Retry-After` and an excerpt of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The response is not 2xx.
    Status { code: u16, retry_after: Option<Duration>, answer: Excerpt },
    /// The response is 2xx, but does not satisfy the sink's success condition. `problem` contains no part of the
    /// response's body.
    NotAccepted { code: u16, problem: String, answer: Excerpt },
    /// The response cannot be parsed as HTTP, or has a head that is too large.
    Malformed,
    /// No response within the timeout.
    TimedOut,
    /// The connection failed or broke.
    Unreachable,
    /// Not sent: the egress rules deny the sink's address.
    Forbidden { address: IpAddr },
    /// Not sent: the event does not fit the sink's format or filter. Contains no value of the event.
    Unfit { problem: String },
}

/// The cause that an answer suggests. Other events decide whether it is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// The sink, its configuration or the network: other events would fail as well.
    Sink,
    /// The event: the same request fails again, other events may succeed.
    Event,
}

impl Failure {
    /// The cause that the failure suggests.
    #[must_use]
    pub fn suspect(&self) -> Suspect {
        match self {
            // Credentials, the address, timing and load concern all requests to the sink.
            Failure::Status { code: 401 | 403 | 404 | 407 | 408 | 410 | 425 | 429, .. } => Suspect::Sink,
            Failure::Status { code: 400..=499, .. } => Suspect::Event,
            // Redirects are not followed, so that the sink's address is out of date.
            Failure::Status { .. }
            | Failure::Malformed
            | Failure::TimedOut
            | Failure::Unreachable
            | Failure::Forbidden { .. } => Suspect::Sink,
            // The sink's status is a success; its API rejects this event.
            Failure::NotAccepted { .. } | Failure::Unfit { .. } => Suspect::Event,
        }
    }

    /// Whether the sink asks for fewer requests: this says nothing about the event, even if other events succeed.
    #[must_use]
    pub fn is_rate_limit(&self) -> bool {
        matches!(self, Failure::Status { code: 429, .. })
    }

    /// How long the sink asks to be left alone: `Retry-After` of a 429 or 503.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Status { code: 429 | 503, retry_after, .. } => *retry_after,
            Failure::Status { .. }
            | Failure::NotAccepted { .. }
            | Failure::Malformed
            | Failure::TimedOut
            | Failure::Unreachable
            | Failure::Forbidden { .. }
            | Failure::Unfit { .. } => None,
        }
    }

    /// Whether the event was sent, or the sink's address was tried: such a failure counts in the sink's status, so that a
    /// sink that rejects every event does not look healthy.
    #[must_use]
    pub fn was_attempted(&self) -> bool {
        match self {
            Failure::Status { .. }
            | Failure::NotAccepted { .. }
            | Failure::Malformed
            | Failure::TimedOut
            | Failure::Unreachable
            | Failure::Forbidden { .. } => true,
            Failure::Unfit { .. } => false,
        }
    }
}

impl Failure {
    /// The failure without text of the sink's response: it stays the same while the same failure repeats, so that a
    /// condition or a log line can contain it.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Failure::Status { code, .. } => format!("answered {code}"),
            Failure::NotAccepted { code, problem, .. } => format!("answered {code}, but {problem}"),
            Failure::Malformed => "answered with a head that is too large or is not HTTP".to_owned(),
            Failure::TimedOut => "did not answer in time".to_owned(),
            Failure::Unreachable => "could not be reached".to_owned(),
            Failure::Forbidden { address } => format!("not sent: {}", Denied { address: *address }),
            Failure::Unfit { problem } => format!("not sent: {problem}"),
        }
    }

    /// The start of the sink's response; `None` without a response, or if it has no body.
    #[must_use]
    pub fn answer(&self) -> Option<&str> {
        match self {
            Failure::Status { answer, .. } | Failure::NotAccepted { answer, .. } => answer.text(),
            Failure::Malformed
            | Failure::TimedOut
            | Failure::Unreachable
            | Failure::Forbidden { .. }
            | Failure::Unfit { .. } => None,
        }
    }
}

/// The summary and the start of the sink's response.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        self.answer().map_or(Ok(()), |answer| write!(f, ": {answer}"))
    }
}

impl From<Denied> for Failure {
    fn from(Denied { address }: Denied) -> Self {
        Failure::Forbidden { address }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Failure {
        Failure::Status { code, retry_after: Some(Duration::from_secs(7)), answer: Excerpt::default() }
    }

    #[test]
    fn every_failure_suspects_the_sink_or_the_event() {
        for code in (100..200).chain(300..400).chain([401, 403, 404, 407, 408, 410, 425, 429]).chain(500..1000) {
            assert_eq!(status(code).suspect(), Suspect::Sink, "{code}");
        }
        for code in [400, 402, 405, 406, 409, 411, 412, 413, 414, 415, 422, 431, 451, 499] {
            assert_eq!(status(code).suspect(), Suspect::Event, "{code}");
        }
        let denied = Failure::Forbidden { address: IpAddr::from([127, 0, 0, 1]) };
        for failure in [Failure::Malformed, Failure::TimedOut, Failure::Unreachable, denied] {
            assert_eq!(failure.suspect(), Suspect::Sink, "{failure}");
        }
        let problem = String::new();
        let not_accepted = Failure::NotAccepted { code: 200, problem: problem.clone(), answer: Excerpt::default() };
        for failure in [Failure::Unfit { problem }, not_accepted] {
            assert_eq!(failure.suspect(), Suspect::Event, "{failure}");
        }
    }

    #[test]
    fn retry_after_counts_for_a_busy_sink_only() {
        for (code, expected) in [(429, true), (503, true), (500, false), (301, false), (413, false)] {
            assert_eq!(status(code).retry_after().is_some(), expected, "{code}");
        }
        assert!(status(429).is_rate_limit() && !status(503).is_rate_limit());
    }
}

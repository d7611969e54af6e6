//! Why an attempt to deliver an event failed. Pure.

use std::{fmt, net::IpAddr, time::Duration};

use super::{egress::Denied, excerpt::Excerpt};

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

impl Failure {
    /// Whether the sink caused it, not the event alone.
    #[must_use]
    pub fn is_the_sinks(&self) -> bool {
        match self {
            Failure::Status { .. }
            | Failure::Malformed
            | Failure::TimedOut
            | Failure::Unreachable
            | Failure::Forbidden { .. } => true,
            // The sink's status is a success; its API rejects this event.
            Failure::NotAccepted { .. } | Failure::Unfit { .. } => false,
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

//! Why an attempt to deliver an event failed. Pure.

use std::{fmt, net::IpAddr, time::Duration};

use super::egress::Denied;

/// Why an attempt failed. Of the response it contains only the status and `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The response is not 2xx.
    Status { code: u16, retry_after: Option<Duration> },
    /// The response is 2xx, but does not satisfy the sink's success condition. Contains no part of the response's body.
    NotAccepted { code: u16, problem: String },
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status { code, .. } => write!(f, "answered {code}"),
            Failure::NotAccepted { code, problem } => write!(f, "answered {code}, but {problem}"),
            Failure::Malformed => f.write_str("answered with a head that is too large or is not HTTP"),
            Failure::TimedOut => f.write_str("did not answer in time"),
            Failure::Unreachable => f.write_str("could not be reached"),
            Failure::Forbidden { address } => write!(f, "not sent: {}", Denied { address: *address }),
            Failure::Unfit { problem } => write!(f, "not sent: {problem}"),
        }
    }
}

impl From<Denied> for Failure {
    fn from(Denied { address }: Denied) -> Self {
        Failure::Forbidden { address }
    }
}

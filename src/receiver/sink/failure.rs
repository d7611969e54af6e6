//! Why an attempt to deliver an event failed. Pure.

use std::{fmt, net::IpAddr, time::Duration};

use super::egress::Denied;

/// Why a sink did not take an event. Holds nothing the sink answered but the status and its `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered, but not with 2xx.
    Status { code: u16, retry_after: Option<Duration> },
    /// It did not answer in time.
    TimedOut,
    /// There was no connection, or it broke.
    Unreachable,
    /// It was not asked: its address is one that events must not be sent to.
    Forbidden { address: IpAddr },
    /// It was not asked: the event cannot be brought into the form it wants. Without any value of the event.
    Unfit { problem: String },
}

impl Failure {
    /// Whether it says something about the sink, not about the event alone.
    #[must_use]
    pub fn is_the_sinks(&self) -> bool {
        match self {
            Failure::Status { .. } | Failure::TimedOut | Failure::Unreachable | Failure::Forbidden { .. } => true,
            Failure::Unfit { .. } => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status { code, .. } => write!(f, "answered {code}"),
            Failure::TimedOut => f.write_str("did not answer in time"),
            Failure::Unreachable => f.write_str("could not be reached"),
            Failure::Forbidden { address } => write!(f, "was not asked: {}", Denied { address: *address }),
            Failure::Unfit { problem } => write!(f, "was not asked: {problem}"),
        }
    }
}

impl From<Denied> for Failure {
    fn from(Denied { address }: Denied) -> Self {
        Failure::Forbidden { address }
    }
}

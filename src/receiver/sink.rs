//! Sends one event to one sink, once. Whether and when it is tried again is [`super::retry`]'s to say.

use std::{fmt, time::Duration};

pub mod http;

/// Why a sink did not take an event. Holds nothing the sink answered but the status and its `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered, but not with 2xx.
    Status { code: u16, retry_after: Option<Duration> },
    /// It did not answer in time.
    TimedOut,
    /// There was no connection, or it broke.
    Unreachable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status { code, .. } => write!(f, "answered {code}"),
            Failure::TimedOut => f.write_str("did not answer in time"),
            Failure::Unreachable => f.write_str("could not be reached"),
        }
    }
}

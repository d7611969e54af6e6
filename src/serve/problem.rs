//! The problems that a server reports to its caller: it neither logs nor counts them itself.

use std::io;

/// A problem that never reaches the service.
#[derive(Debug)]
pub enum Problem {
    /// A connection could not be accepted, such as for want of file descriptors. The server tries again.
    Accept(io::Error),
    /// A request whose header exceeds the limits; answered 431 (a target alone: 414).
    HeaderTooLarge,
    /// Not a valid HTTP request; answered 400.
    BadRequest,
}

impl Problem {
    /// The problem of a request that hyper could not parse.
    pub(super) fn of(error: &hyper::Error) -> Option<Self> {
        if error.is_parse_too_large() {
            Some(Problem::HeaderTooLarge)
        } else {
            error.is_parse().then_some(Problem::BadRequest)
        }
    }
}

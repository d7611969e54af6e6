//! The limits of an HTTP server.

use std::time::Duration;

/// Limits on the connections of one server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of open connections.
    pub connections: usize,
    /// Maximum number of open connections of one address.
    pub connections_per_address: usize,
    /// The rule for further connections.
    pub when_full: WhenFull,
    /// Maximum number of concurrent streams of an HTTP/2 connection; 0 disables HTTP/2.
    pub streams: u32,
    /// Maximum time for a TLS handshake. A connection counts as open during its handshake.
    pub handshake: Duration,
    /// Maximum time from the first byte of a request to the end of its header; a violation is detected within another
    /// such period. It also bounds how long a new connection may stay silent, and how long a response may wait for the
    /// peer to read it.
    pub header: Duration,
    /// Maximum time that a connection may be silent between two requests.
    pub idle: Duration,
    /// Maximum number of header fields of one HTTP/1 request; HTTP/2 limits only their bytes.
    pub header_fields: usize,
    /// Maximum size of one request's header; a larger one is rejected with 431.
    pub header_bytes: usize,
    /// How long requests in flight may take to finish once shutdown has begun.
    pub drain: Duration,
}

/// The rule for a connection beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in the kernel's accept queue; one of an address that has its maximum is closed at once. For a port that
    /// is open to the internet: connections in use are never closed for the sake of others.
    Wait,
    /// An older one is closed: of the address that has the most, the oldest without a request in flight. For a port with
    /// short requests, whose clients carry no credentials until they are accepted.
    CloseOldest,
}

//! The limits of a server.

use std::time::Duration;

/// Limits on the connections of one server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// Open connections of one address; further ones are closed at once.
    pub connections_per_address: usize,
    /// Concurrent streams of an HTTP/2 connection; 0 disables HTTP/2.
    pub streams: u32,
    /// Time for a TLS handshake. A connection counts as open during its handshake.
    pub handshake: Duration,
    /// Time from the first byte of a request to the end of its header; a violation is detected within another such
    /// period. It also bounds how long a new connection may stay silent, and how long a response may wait for the peer
    /// to read it.
    pub header: Duration,
    /// Time that a connection may be silent between two requests.
    pub idle: Duration,
    /// Header fields of one request. HTTP/2 limits only their bytes.
    pub header_fields: usize,
    /// Size of one request's header; a larger one is rejected with 431.
    pub header_bytes: usize,
    /// Time for requests in flight to finish once shutdown has begun.
    pub drain: Duration,
}

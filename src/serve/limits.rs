//! The limits of the HTTP server for a public port.

use std::time::Duration;

/// Limits on the connections of one server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of open connections; further ones wait in the kernel's accept queue.
    pub connections: usize,
    /// Maximum number of open connections of one address; further ones are closed at once.
    pub connections_per_address: usize,
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

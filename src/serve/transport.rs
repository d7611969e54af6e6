//! The transport under HTTP: TCP or TLS.

use std::fmt;

use tokio_rustls::TlsAcceptor;

/// The transport that carries HTTP.
#[derive(Clone)]
pub enum Transport {
    /// Plain TCP. The first bytes of a connection select the HTTP version.
    Tcp,
    /// TLS. ALPN selects the HTTP version; without it, HTTP/1.1 is used.
    Tls(TlsAcceptor),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "Tcp",
            Transport::Tls(_) => "Tls",
        })
    }
}

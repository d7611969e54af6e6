//! A server that acts as an edge, for one connection or all, with or without TLS.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use url::Url;

use crate::certificate_authority::Certificate;

/// The host name of its URL.
pub const HOST: &str = "localhost";

/// Accepts and answers one connection; over TLS if there is a certificate.
pub fn edge(certificate: Option<&Certificate>, answer: String) -> Url {
    serve(certificate, answer, 1)
}

/// Accepts and answers all connections over TLS, each with one request.
pub fn lasting_edge(certificate: &Certificate, answer: String) -> Url {
    serve(Some(certificate), answer, usize::MAX)
}

fn serve(certificate: Option<&Certificate>, answer: String, connections: usize) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{HOST}:{}/h/1", listener.local_addr().unwrap().port());
    let tls = certificate.map(serving);
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let stream = stream.unwrap();
            // A client that rejects the certificate disconnects, which some tests expect.
            let _ = match tls.clone() {
                None => reply(stream, &answer),
                Some(config) => reply(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), &answer),
            };
        }
    });
    url.parse().unwrap()
}

fn serving(Certificate { own, chain, key }: &Certificate) -> Arc<ServerConfig> {
    let shown: Vec<_> =
        CertificateDer::pem_slice_iter(format!("{own}{chain}").as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(shown, key).unwrap())
}

fn reply(mut stream: impl Read + Write, answer: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        request.push(byte[0]);
    }
    // A close before the body is read could reset the connection before the client has the answer.
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length])?;
    stream.write_all(answer.as_bytes())?;
    stream.flush()
}

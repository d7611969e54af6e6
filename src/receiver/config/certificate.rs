//! The TLS certificate of the port for deliveries, if the receiver terminates TLS itself. An invalid pair of files
//! leaves the last valid one in use, and the status reports the problem.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::{route, serve::Transport};

/// Why tls.crt and tls.key are rejected. The message never shows a file's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    #[error("{file} cannot be read: {problem}")]
    Unreadable { file: &'static str, problem: String },
    #[error("{} holds no certificate in PEM", route::CERTIFICATE_FILE)]
    NoCertificate,
    #[error("{} holds no private key in PEM", route::CERTIFICATE_KEY_FILE)]
    NoKey,
    #[error("{} is not the key of the certificate in {}", route::CERTIFICATE_KEY_FILE, route::CERTIFICATE_FILE)]
    Mismatch,
    #[error("the certificate expired at {at}")]
    Expired { at: Timestamp },
    #[error("the certificate cannot be used: {problem}")]
    Unusable { problem: String },
}

/// A certificate with its key, ready to serve.
#[derive(Debug)]
pub(super) struct Pair {
    key: Arc<CertifiedKey>,
    expires: Timestamp,
}

impl Pair {
    /// Checks that key and certificate match and that the certificate is valid at `now`.
    pub(super) fn parse(
        certificate: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
        now: Timestamp,
    ) -> Result<Self, PairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| PairError::NoCertificate)?;
        let expires = expiration(chain.first().ok_or(PairError::NoCertificate)?)?;
        // The parser's own message may quote a line, and lines here are secret.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PairError::NoKey)?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let mismatch = error == rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch);
            if mismatch { PairError::Mismatch } else { PairError::Unusable { problem: error.to_string() } }
        })?;
        if expires < now {
            return Err(PairError::Expired { at: expires });
        }
        Ok(Pair { key: Arc::new(key), expires })
    }
}

/// The expiration time of a certificate.
fn expiration(certificate: &CertificateDer<'_>) -> Result<Timestamp, PairError> {
    let unusable = |problem: String| PairError::Unusable { problem };
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| unusable(error.to_string()))?;
    let second = parsed.validity().not_after.timestamp();
    // A time beyond the range of a timestamp does not expire in practice.
    Ok(Timestamp::from_second(second).unwrap_or(Timestamp::MAX))
}

/// The certificate in use and the problem with a newer one. Shared by the watcher, the handshakes and the status.
#[derive(Debug, Default)]
pub struct Certificate(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    in_use: Option<Pair>,
    problem: Option<String>,
}

impl Certificate {
    /// Serves TLS 1.2 and later with the pair that is in use when a connection opens. Session resumption is off, so
    /// each new connection gets the current certificate.
    ///
    /// # Errors
    /// Never with the built-in provider.
    pub fn transport(self: &Arc<Self>) -> Result<Transport, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let resolver: Arc<Self> = Arc::clone(self);
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Transport::Tls(TlsAcceptor::from(Arc::new(config))))
    }

    /// The status of the certificate at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> route::status::Certificate {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let expires = state.in_use.as_ref().map(|pair| pair.expires);
        let expired = expires.filter(|expires| *expires < now).map(|at| PairError::Expired { at }.to_string());
        route::status::Certificate {
            serving: expires.is_some() && expired.is_none(),
            expiration_time: expires.map(Timestamp::as_second),
            problem: state.problem.clone().or(expired),
        }
    }

    pub(super) fn update(&self, result: Result<Pair, PairError>) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(pair) => {
                tracing::info!(expires = %pair.expires, "certificate loaded");
                *state = State { in_use: Some(pair), problem: None };
            }
            Err(error) => {
                let in_use = state.in_use.is_some();
                tracing::error!(%error, in_use, "certificate rejected");
                state.problem = Some(error.to_string());
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.in_use.as_ref().map(|pair| Arc::clone(&pair.key))
    }
}

#[cfg(test)]
mod tests;

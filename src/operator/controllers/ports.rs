//! The operator's clients of external systems, which tests replace.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use kube::{Client, Config};
use reqwest::Certificate;

pub use crate::operator::webhook::{
    challenge::Challenge,
    observed::ProbeResult,
    probe::{Probe, Prober},
    receiver_client::{ReceiverClient, Receivers, Redriven},
};
use crate::{
    ca_bundle::{self, Problem},
    egress::Egress,
    linktree::client::{Transport, Unusable},
    operator::election::leadership::Leadership,
};

/// Error of creating one of the clients.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the Kubernetes client cannot be created: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error("the Linktree client cannot be created: {0}")]
    Linktree(#[from] Unusable),
    #[error("the HTTP client cannot be created: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the CA certificates in --probe-ca-file {path} cannot be read: {problem}")]
    ProbeCaFile { path: PathBuf, problem: String },
}

/// The clients that all scopes of a process share.
#[derive(Clone)]
pub struct Ports {
    /// Client of the API server.
    pub client: Client,
    /// HTTP transport for requests to Linktree.
    pub transport: Transport,
    /// Probe of the webhooks' public URLs.
    pub prober: Arc<dyn Probe>,
    /// Client for the status of the receivers' pods.
    pub receivers: Arc<dyn Receivers>,
}

impl Ports {
    /// Creates the clients, with the API server of `config`. The Kubernetes client sends writes only while this process
    /// leads. The probe also trusts the CA certificates in `probe_ca_file`; it and the Linktree client connect only to
    /// addresses that `egress` permits.
    ///
    /// # Errors
    /// When `config`, the file or the system's TLS configuration cannot be used.
    pub fn open(
        config: &Config,
        leadership: &Leadership,
        probe_ca_file: Option<&Path>,
        egress: Egress,
    ) -> Result<Self, Error> {
        Ok(Ports {
            client: leadership.client(config)?,
            transport: Transport::new(egress.clone())?,
            prober: Arc::new(prober(probe_ca_file, egress)?),
            receivers: Arc::new(ReceiverClient),
        })
    }
}

fn prober(ca_file: Option<&Path>, egress: Egress) -> Result<Prober, Error> {
    Ok(Prober::new(ca_file.map_or(Ok(Vec::new()), ca_certificates)?, egress)?)
}

fn ca_certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    ca_bundle::read(path).map_err(|problem| {
        let remedy = if matches!(problem, Problem::None) { ADD_CERTIFICATES } else { "" };
        Error::ProbeCaFile { path: path.to_owned(), problem: format!("{problem}{remedy}") }
    })
}

/// Remedy, appended to the error of a `--probe-ca-file` that contains no certificate.
const ADD_CERTIFICATES: &str = ": add your CA certificates in PEM (-----BEGIN CERTIFICATE-----), or omit the flag (in \
    the chart: probe.caBundle)";

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_rejected() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = |path: &Path| prober(Some(path), Egress::default()).unwrap_err().to_string();
        assert!(
            error(file.path()).contains("it contains no certificate: add your CA certificates in PEM"),
            "{}",
            error(file.path())
        );
        assert!(
            error(Path::new("/no/such/file"))
                .starts_with("the CA certificates in --probe-ca-file /no/such/file cannot")
        );
        assert!(prober(None, Egress::default()).is_ok());
    }
}

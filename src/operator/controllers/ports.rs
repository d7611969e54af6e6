//! The operator's connections to external systems, which tests replace.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use kube::{Client, Config};
use reqwest::Certificate;

pub use crate::operator::webhook::{
    observed::ProbeResult,
    probe::{Probe, Prober},
    receiver_client::{ReceiverClient, Receivers},
};
use crate::{
    ca_bundle::{self, Problem},
    linktree::client::{Transport, Unusable},
    operator::election::leadership::Leadership,
};

/// Error of the set-up of a connection.
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

/// The connections of a process, one of each kind.
#[derive(Clone)]
pub struct Ports {
    /// Client of the API server.
    pub client: Client,
    /// HTTP transport to Linktree.
    pub transport: Transport,
    /// Probe of the public URLs.
    pub prober: Arc<dyn Probe>,
    /// Client of the receivers' pods.
    pub receivers: Arc<dyn Receivers>,
}

impl Ports {
    /// Creates the connections for the cluster of `config`. The API client writes only while this process leads. The
    /// probe also trusts the CA certificates in `probe_ca_file`.
    ///
    /// # Errors
    /// If the configuration, the file or the machine's TLS set-up cannot be used.
    pub fn open(config: &Config, leadership: &Leadership, probe_ca_file: Option<&Path>) -> Result<Self, Error> {
        Ok(Ports {
            client: leadership.client(config)?,
            transport: Transport::new()?,
            prober: Arc::new(prober(probe_ca_file)?),
            receivers: Arc::new(ReceiverClient),
        })
    }
}

fn prober(ca_file: Option<&Path>) -> Result<Prober, Error> {
    Ok(Prober::new(ca_file.map_or(Ok(Vec::new()), ca_certificates)?)?)
}

fn ca_certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    ca_bundle::read(path).map_err(|problem| {
        let remedy = if matches!(problem, Problem::None) { ADD_CERTIFICATES } else { "" };
        Error::ProbeCaFile { path: path.to_owned(), problem: format!("{problem}{remedy}") }
    })
}

/// Remedy for a file without a certificate.
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
        let error = |path: &Path| prober(Some(path)).unwrap_err().to_string();
        assert!(
            error(file.path()).contains("it contains no certificate: add your CA certificates in PEM"),
            "{}",
            error(file.path())
        );
        assert!(
            error(Path::new("/no/such/file"))
                .starts_with("the CA certificates in --probe-ca-file /no/such/file cannot")
        );
        assert!(prober(None).is_ok());
    }
}

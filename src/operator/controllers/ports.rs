//! The operator's connections to the world outside of its process; a test may put another world behind them.

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

/// Why a connection could not be set up.
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

/// One connection of each kind per process.
#[derive(Clone)]
pub struct Ports {
    /// To the API server.
    pub client: Client,
    /// To Linktree.
    pub transport: Transport,
    /// To the public URLs.
    pub prober: Arc<dyn Probe>,
    /// To the receivers' pods.
    pub receivers: Arc<dyn Receivers>,
}

impl Ports {
    /// Opens those of the cluster that `config` names. The API client writes only while this process leads. The probe
    /// trusts the CA certificates in `probe_ca_file`, too.
    ///
    /// # Errors
    /// When the configuration or the file cannot be used, or the machine has no usable TLS set-up.
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
    Ok(Prober::new(ca_file.map_or(Ok(Vec::new()), authorities)?)?)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Error> {
    ca_bundle::read(path).map_err(|problem| {
        let advice = if matches!(problem, Problem::None) { ADD_CERTIFICATES } else { "" };
        Error::ProbeCaFile { path: path.to_owned(), problem: format!("{problem}{advice}") }
    })
}

/// The remedy for a file without a certificate.
const ADD_CERTIFICATES: &str = ": add your CA certificates in PEM (-----BEGIN CERTIFICATE-----), or leave the flag out (in the chart: \
    probe.caBundle)";

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = |path: &Path| prober(Some(path)).unwrap_err().to_string();
        assert!(
            told(file.path()).contains("there is none in it: add your CA certificates in PEM"),
            "{}",
            told(file.path())
        );
        assert!(
            told(Path::new("/no/such/file")).starts_with("the CA certificates in --probe-ca-file /no/such/file cannot")
        );
        assert!(prober(None).is_ok());
    }
}

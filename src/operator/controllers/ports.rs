//! The operator's clients of external systems, which tests replace.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use crate::operator::webhook::{
    challenge::Challenge,
    observed::ProbeResult,
    probe::{Probe, Prober},
    receiver_client::{ReceiverClient, Receivers, Redriven},
};
use crate::{
    ca_bundle::{self, Problem},
    egress::{
        Egress,
        outbound::Outbound,
        proxies::{NoProxyUrl, Proxies},
    },
    linktree::client::{Transport, Unusable},
    operator::election::leadership::Leadership,
};
use kube::{Client, Config};

/// Error of creating one of the clients.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the Kubernetes client cannot be created: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error("the Linktree client cannot be created: {0}")]
    Linktree(#[from] Unusable),
    #[error("the HTTP client cannot be created: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the CA bundle of --ca-file {} (in the chart: caBundle) cannot be used: {source}", .path.display())]
    CaBundle { path: PathBuf, source: Problem },
    #[error(transparent)]
    Proxy(#[from] NoProxyUrl),
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
    /// leads. The Linktree client and the probe also trust the CA certificates in `ca_file`, use the forward proxies of
    /// the environment, and connect only to those and to addresses that `egress` permits.
    ///
    /// # Errors
    /// When `config`, the file, a proxy or the system's TLS configuration cannot be used.
    pub fn open(
        config: &Config,
        leadership: &Leadership,
        ca_file: Option<&Path>,
        egress: Egress,
    ) -> Result<Self, Error> {
        let outbound = outbound(ca_file, egress, Proxies::of_environment()?)?;
        Ok(Ports {
            client: leadership.client(config)?,
            transport: Transport::new(outbound.clone())?,
            prober: Arc::new(Prober::new(outbound)?),
            receivers: Arc::new(ReceiverClient),
        })
    }
}

/// The settings of the clients for Linktree and for probes.
fn outbound(ca_file: Option<&Path>, egress: Egress, proxies: Proxies) -> Result<Outbound, Error> {
    let read = |path: &Path| ca_bundle::read(path).map_err(|source| Error::CaBundle { path: path.to_owned(), source });
    Ok(Outbound { egress, authorities: ca_file.map(read).transpose()?.unwrap_or_default(), proxies })
}

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
        let open = |path: Option<&Path>| outbound(path, Egress::default(), Proxies::default());
        let error = |path: &Path| open(Some(path)).unwrap_err().to_string();
        let unusable = error(file.path());
        assert!(unusable.contains("it contains no certificate: add your CA certificates in PEM"), "{unusable}");
        let missing = error(Path::new("/no/such/file"));
        let expected = "the CA bundle of --ca-file /no/such/file (in the chart: caBundle) cannot be used: ";
        assert!(missing.starts_with(expected), "{missing}");
        assert!(open(None).unwrap().authorities.is_empty());
    }
}

//! What the operator reaches the world through. One of each per process; a test may put another world behind them.

use std::{fmt, path::Path, sync::Arc};

use kube::{Client, Config};
use reqwest::Certificate;

pub use super::webhook::{
    observed::ProbeResult,
    probe::{Probe, Prober},
    receiver_client::{ReceiverClient, Receivers},
};
use super::{Error, election::run::Leadership};
use crate::{
    ca_bundle::{self, Problem},
    linktree::client::Transport,
};

/// The ways out of the process.
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
    /// Those of the cluster that `config` leads to. Its API server is written to only while this process leads. The
    /// probe trusts the authorities in `probe_ca_file`, too.
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
        let advice = if matches!(problem, Problem::None) { WRITE_SOME } else { "" };
        Error::ProbeAuthorities { path: path.to_owned(), problem: format!("{problem}{advice}") }
    })
}

/// What to do about a file without a certificate.
const WRITE_SOME: &str = ": write those of your authorities into it, in PEM (-----BEGIN CERTIFICATE-----), or leave the \
    flag out (in the chart: probe.caBundle)";

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
            told(file.path()).contains("it contains no certificate: write those of your authorities into it"),
            "{}",
            told(file.path())
        );
        assert!(
            told(Path::new("/no/such/file")).starts_with("the certificates of --probe-ca-file /no/such/file cannot")
        );
        assert!(prober(None).is_ok());
    }
}

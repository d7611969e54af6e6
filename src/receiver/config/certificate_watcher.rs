//! Loads the [`Certificate`] from its two files. The watcher compares the files by content every second, for the
//! reasons in [`super::route_watcher`].

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::crypto::aws_lc_rs;
use sha2::{Digest, Sha256};
use tokio::{fs, time::sleep};
use zeroize::Zeroizing;

use super::certificate::{Certificate, Pair, PairError};
use crate::{clock, route};

const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Watches the files tls.crt and tls.key.
#[derive(Debug)]
pub struct CertificateWatcher {
    directory: PathBuf,
    certificate: Arc<Certificate>,
    /// The result of the last poll, so that each result is logged once.
    last: Option<Result<[u8; 32], PairError>>,
}

/// The content of both files, or the error of one.
type Files = Result<(Vec<u8>, Zeroizing<Vec<u8>>), PairError>;

impl CertificateWatcher {
    #[must_use]
    pub fn new(directory: PathBuf, certificate: Arc<Certificate>) -> Self {
        CertificateWatcher { directory, certificate, last: None }
    }

    /// The certificate that this watcher updates.
    #[must_use]
    pub fn certificate(&self) -> &Arc<Certificate> {
        &self.certificate
    }

    /// Polls the files and never returns. Cancel-safe.
    pub async fn run(mut self) {
        loop {
            self.poll().await;
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads the files once, and loads the pair if it has changed.
    async fn poll(&mut self) {
        let files = self.read().await;
        let finding = match &files {
            Ok((certificate, key)) => Ok(Sha256::new().chain_update(certificate).chain_update(key).finalize().into()),
            Err(error) => Err(error.clone()),
        };
        // The two files change together; if they change between the reads, the next poll sees both.
        if self.last.as_ref() == Some(&finding) || self.read().await != files {
            return;
        }
        let provider = aws_lc_rs::default_provider();
        let pair = files.and_then(|(certificate, key)| Pair::parse(&certificate, &key, &provider, clock::now()));
        self.certificate.update(pair);
        self.last = Some(finding);
    }

    async fn read(&self) -> Files {
        let read = async |file| {
            let unreadable = |error: std::io::Error| PairError::Unreadable { file, problem: error.to_string() };
            fs::read(self.directory.join(file)).await.map_err(unreadable)
        };
        let certificate = read(route::CERTIFICATE_FILE).await?;
        Ok((certificate, Zeroizing::new(read(route::CERTIFICATE_KEY_FILE).await?)))
    }
}

//! Loads the certificate authorities that sinks may have from the CA bundle. The file is compared by content, for the
//! reasons in [`super::route_watcher`]: an authority is renewed without a restart, and a bundle may come after the pod.

use std::{path::PathBuf, time::Duration};

use sha2::{Digest, Sha256};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    ca_bundle::{self, Problem},
    receiver::sink::http::Clients,
};

const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Watches one CA bundle.
#[derive(Debug)]
pub struct CaBundleWatcher {
    file: PathBuf,
    clients: Clients,
    /// The result of the last poll, so that each result is logged once.
    last: Finding,
}

#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// The file has this digest, whether it is valid or not.
    File([u8; 32]),
    /// The file cannot be read, for this reason.
    None(String),
}

impl CaBundleWatcher {
    /// Loads the bundle. A missing one may still come: the clients then trust the public authorities only.
    ///
    /// # Errors
    /// If the file exists and is not a valid CA bundle.
    pub fn load(file: PathBuf, clients: Clients) -> Result<Self, Problem> {
        let contents = ca_bundle::contents(&file);
        let mut watcher = CaBundleWatcher { last: finding(&contents), file, clients };
        match contents.and_then(|contents| watcher.apply(&contents)) {
            Ok(()) => Ok(watcher),
            Err(problem) if problem.is_missing() => {
                watcher.report(&problem);
                Ok(watcher)
            }
            Err(problem) => Err(problem),
        }
    }

    /// Polls the file and never returns. Cancel-safe.
    pub async fn run(mut self) {
        loop {
            sleep(POLL_INTERVAL).await;
            self.poll().await;
        }
    }

    /// Reads the file once, and applies the bundle if it has changed. One that is missing or invalid leaves the last valid
    /// one in use.
    async fn poll(&mut self) {
        let file = self.file.clone();
        let Ok(contents) = spawn_blocking(move || ca_bundle::contents(&file)).await else { return };
        let finding = finding(&contents);
        if self.last == finding {
            return;
        }
        self.last = finding;
        if let Err(problem) = contents.and_then(|contents| self.apply(&contents)) {
            self.report(&problem);
        }
    }

    fn apply(&mut self, contents: &[u8]) -> Result<(), Problem> {
        let authorities = ca_bundle::parse(contents)?;
        let certificates = authorities.len();
        self.clients.trust(authorities)?;
        tracing::info!(file = %self.file.display(), certificates, "CA bundle loaded");
        Ok(())
    }

    fn report(&self, problem: &Problem) {
        tracing::warn!(file = %self.file.display(), %problem, "CA bundle not loaded, waiting for a valid one");
    }
}

fn finding(contents: &Result<Vec<u8>, Problem>) -> Finding {
    match contents {
        Ok(contents) => Finding::File(Sha256::digest(contents).into()),
        Err(problem) => Finding::None(problem.to_string()),
    }
}

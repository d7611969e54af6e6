//! Stands in for a journal that cannot be used: every delivery is answered 503, and the status reports the reason. If
//! the process exited instead, the reason would be in the log only. If the journal may become usable, it is opened again
//! from time to time, and then used.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{sync::watch, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Appended, Backlog, Due, Journal, JournalError, Pending, Position, Settings, Settlement,
    inspect::{Inspect, Inventory},
    position::Arrivals,
    query::{DueQuery, Probe},
    redrive::{Matched, Redrive, Redriver, Source},
    sqlite::{SqliteJournal, error::OpenError},
};
use crate::{
    receiver::ingest::event::Event,
    route::{
        journal::{DroppedEvent, Entry, SinkEntry},
        redrive::RedriveProgress,
        status::JournalHealth,
    },
};

/// The delay before the journal is opened again.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// A journal that fails every operation with one reason, until it can be opened.
#[derive(Debug)]
pub struct UnavailableJournal {
    problem: Mutex<String>,
    opened: OnceLock<Arc<SqliteJournal>>,
    /// The last settings, for a journal that is opened later.
    settings: tokio::sync::Mutex<Option<Settings>>,
    appended: watch::Sender<Arrivals>,
    lost: CancellationToken,
    closed: CancellationToken,
}

impl UnavailableJournal {
    /// A journal that fails with `problem`, which must not contain secrets.
    #[must_use]
    pub fn new(problem: String) -> Self {
        UnavailableJournal {
            problem: Mutex::new(problem),
            opened: OnceLock::new(),
            settings: tokio::sync::Mutex::default(),
            appended: watch::Sender::default(),
            lost: CancellationToken::new(),
            closed: CancellationToken::new(),
        }
    }

    /// As [`SqliteJournal::lost`], once it is open.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Opens the journal again from time to time, until that succeeds, fails for good, or this one is closed. Then
    /// reports on the opened one, until it is closed.
    pub async fn reopen(self: Arc<Self>, open: impl Fn() -> Result<SqliteJournal, OpenError> + Clone + Send + 'static) {
        let closed = self.closed.clone();
        closed.run_until_cancelled(self.reopen_and_follow(open)).await;
    }

    async fn reopen_and_follow(&self, open: impl Fn() -> Result<SqliteJournal, OpenError> + Clone + Send + 'static) {
        let journal = loop {
            sleep(REOPEN_DELAY).await;
            match spawn_blocking(open.clone()).await {
                Ok(Ok(journal)) => break Arc::new(journal),
                Ok(Err(error)) => {
                    self.set_problem(error.to_string());
                    if error.is_final() {
                        return;
                    }
                }
                Err(error) => self.set_problem(error.to_string()),
            }
        };
        let (lost, mut appended) = (journal.lost(), journal.appended());
        self.switch(journal).await;
        tracing::info!("journal opened");
        loop {
            let arrivals = *appended.borrow_and_update();
            self.appended.send_replace(arrivals);
            tokio::select! {
                Ok(()) = appended.changed() => {}
                () = lost.cancelled() => {
                    self.lost.cancel();
                    return;
                }
            }
        }
    }

    /// Uses `journal` from here on, once the last settings could be written: a journal that opens need not be writable.
    async fn switch(&self, journal: Arc<SqliteJournal>) {
        loop {
            let settings = self.settings.lock().await;
            let configured = match &*settings {
                Some(settings) => journal.configure(settings.clone()).await,
                None => Ok(()),
            };
            match configured {
                Ok(()) | Err(JournalError::Closed) => {
                    let _ = self.opened.set(journal);
                    return;
                }
                Err(error @ (JournalError::Overloaded | JournalError::Full | JournalError::Failed { .. })) => {
                    self.set_problem(error.to_string());
                }
            }
            if journal.lost().is_cancelled() {
                self.lost.cancel();
                return;
            }
            drop(settings);
            sleep(REOPEN_DELAY).await;
        }
    }

    fn set_problem(&self, problem: String) {
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != problem {
            tracing::error!(problem, "journal still unavailable, answering 503");
            *known = problem;
        }
    }

    fn problem(&self) -> String {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The opened journal.
    fn opened(&self) -> Result<&SqliteJournal, JournalError> {
        self.opened.get().map(|journal| &**journal).ok_or_else(|| JournalError::Failed { problem: self.problem() })
    }
}

#[async_trait]
impl Journal for UnavailableJournal {
    async fn append(&self, event: Event) -> Result<Appended, JournalError> {
        self.opened()?.append(event).await
    }

    async fn configure(&self, settings: Settings) -> Result<(), JournalError> {
        let mut known = self.settings.lock().await;
        match self.opened.get() {
            Some(journal) => journal.configure(settings).await,
            None => {
                *known = Some(settings);
                Ok(())
            }
        }
    }

    async fn due(&self, sink: &str, query: DueQuery) -> Result<Due, JournalError> {
        match self.opened.get() {
            Some(journal) => journal.due(sink, query).await,
            None => Ok(Due::default()),
        }
    }

    async fn probe(&self, sink: &str, probe: Probe, max_bytes: usize) -> Result<Option<Pending>, JournalError> {
        match self.opened.get() {
            Some(journal) => journal.probe(sink, probe, max_bytes).await,
            None => Ok(None),
        }
    }

    /// Fails while the journal is not open: the order of events relies on the complete list.
    async fn waiting(&self, sink: &str, after: Position, limit: usize) -> Result<Vec<(Pending, i64)>, JournalError> {
        self.opened()?.waiting(sink, after, limit).await
    }

    async fn settle(&self, sink: &str, settlements: Vec<Settlement>) -> Result<(), JournalError> {
        self.opened()?.settle(sink, settlements).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, JournalError> {
        self.opened()?.backlog().await
    }

    fn health(&self) -> JournalHealth {
        match self.opened.get() {
            Some(journal) => journal.health(),
            None => JournalHealth::Failed { problem: self.problem() },
        }
    }

    fn body_limit(&self) -> u64 {
        self.opened.get().map_or(u64::MAX, |journal| journal.body_limit())
    }

    fn appended(&self) -> watch::Receiver<Arrivals> {
        self.appended.subscribe()
    }

    async fn close(&self) -> Result<(), JournalError> {
        self.closed.cancel();
        match self.opened.get() {
            Some(journal) => journal.close().await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Inspect for UnavailableJournal {
    async fn inventory(&self) -> Result<Inventory, JournalError> {
        self.opened()?.inventory().await
    }

    async fn list(&self, after: Position, limit: usize) -> Result<Vec<Entry>, JournalError> {
        self.opened()?.list(after, limit).await
    }

    async fn dropped(&self, after: i64, limit: usize) -> Result<Vec<DroppedEvent>, JournalError> {
        self.opened()?.dropped(after, limit).await
    }

    async fn show(&self, position: Position) -> Result<Option<(Entry, Bytes, Vec<SinkEntry>)>, JournalError> {
        self.opened()?.show(position).await
    }
}

#[async_trait]
impl Redriver for UnavailableJournal {
    async fn matched(&self, source: Source) -> Result<Matched, JournalError> {
        self.opened()?.matched(source).await
    }

    async fn exists(&self, position: Position) -> Result<bool, JournalError> {
        self.opened()?.exists(position).await
    }

    async fn find_delivery(&self, id: &str) -> Result<Option<Position>, JournalError> {
        self.opened()?.find_delivery(id).await
    }

    async fn accepted(&self, id: &str) -> Result<Option<u64>, JournalError> {
        self.opened()?.accepted(id).await
    }

    async fn redrive(&self, request: Redrive) -> Result<Option<u64>, JournalError> {
        self.opened()?.redrive(request).await
    }

    async fn redrives(&self) -> Result<Vec<RedriveProgress>, JournalError> {
        self.opened()?.redrives().await
    }
}

#[cfg(test)]
mod tests;

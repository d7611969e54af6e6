//! Stands in for a journal that is permanently unusable on this volume: every delivery is answered 503, and the status
//! reports the reason. If the process exited instead, the reason would be in the log only.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Appended, Backlog, Due, Journal, JournalError, Pending, Position, Settings, Settlement,
    inspect::{Inspect, Inventory},
    query::{DueQuery, Probe},
    redrive::{Matched, Redrive, Redriver, Source},
};
use crate::{
    receiver::ingest::event::Event,
    route::{
        journal::{Entry, SinkEntry},
        redrive::RedriveProgress,
        status::JournalHealth,
    },
};

/// A journal that fails every append with one reason.
#[derive(Debug)]
pub struct UnavailableJournal {
    problem: String,
    appended: watch::Sender<Position>,
}

impl UnavailableJournal {
    /// A journal that fails with `problem`, which must not contain secrets.
    #[must_use]
    pub fn new(problem: String) -> Self {
        UnavailableJournal { problem, appended: watch::Sender::new(0) }
    }

    fn error(&self) -> JournalError {
        JournalError::Failed { problem: self.problem.clone() }
    }
}

#[async_trait]
impl Journal for UnavailableJournal {
    async fn append(&self, _: Event) -> Result<Appended, JournalError> {
        Err(self.error())
    }

    async fn configure(&self, _: Settings) -> Result<(), JournalError> {
        Ok(())
    }

    async fn due(&self, _: &str, _: DueQuery) -> Result<Due, JournalError> {
        Ok(Due::default())
    }

    async fn probe(&self, _: &str, _: Probe, _: usize) -> Result<Option<Pending>, JournalError> {
        Ok(None)
    }

    async fn waiting(&self, _: &str, _: Position, _: usize) -> Result<Vec<(Pending, i64)>, JournalError> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: &str, _: Vec<Settlement>) -> Result<(), JournalError> {
        Err(self.error())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, JournalError> {
        Ok(Vec::new())
    }

    fn health(&self) -> JournalHealth {
        JournalHealth::Failed { problem: self.problem.clone() }
    }

    fn appended(&self) -> watch::Receiver<Position> {
        self.appended.subscribe()
    }

    async fn close(&self) -> Result<(), JournalError> {
        Ok(())
    }
}

#[async_trait]
impl Inspect for UnavailableJournal {
    async fn inventory(&self) -> Result<Inventory, JournalError> {
        Ok(Inventory::default())
    }

    async fn list(&self, _: Position, _: usize) -> Result<Vec<Entry>, JournalError> {
        Err(self.error())
    }

    async fn show(&self, _: Position) -> Result<Option<(Entry, Bytes, Vec<SinkEntry>)>, JournalError> {
        Err(self.error())
    }
}

#[async_trait]
impl Redriver for UnavailableJournal {
    async fn matched(&self, _: Source) -> Result<Matched, JournalError> {
        Err(self.error())
    }

    async fn exists(&self, _: Position) -> Result<bool, JournalError> {
        Err(self.error())
    }

    async fn find_delivery(&self, _: &str) -> Result<Option<Position>, JournalError> {
        Err(self.error())
    }

    async fn accepted(&self, _: &str) -> Result<Option<u64>, JournalError> {
        Err(self.error())
    }

    async fn redrive(&self, _: Redrive) -> Result<Option<u64>, JournalError> {
        Err(self.error())
    }

    async fn redrives(&self) -> Result<Vec<RedriveProgress>, JournalError> {
        Err(self.error())
    }
}

//! Looking into a journal without changing it: for the metrics and for people's tools.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::{JournalError, Position};
use crate::route::journal::{Entry, SinkEntry};

/// A journal that can be looked into.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// How much there is.
    async fn inventory(&self) -> Result<Inventory, JournalError>;

    /// The entries behind `after`, in the order in which they came in, at most `limit`.
    async fn list(&self, after: Position, limit: usize) -> Result<Vec<Entry>, JournalError>;

    /// One entry with its body and what became of it at each sink; `None` if it is not there, or not any more.
    async fn show(&self, position: Position) -> Result<Option<(Entry, Bytes, Vec<SinkEntry>)>, JournalError>;
}

/// How much a journal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub events: u64,
    /// Identities that are remembered, so that nothing is taken twice.
    pub identities: u64,
    /// What of the volume is in use, but for the write-ahead log.
    pub bytes: u64,
    /// When a milestone was last kept, in seconds since the epoch; also after its event has gone.
    pub last_milestone: Option<i64>,
    /// When the oldest event that a sink still waits for came in, in seconds since the epoch, by sink.
    pub oldest: BTreeMap<String, i64>,
}

//! Read-only access to a journal, for metrics and tools.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::{JournalError, Position};
use crate::route::{
    journal::{DroppedEvent, Entry, SinkEntry},
    status::RemovedSink,
};

/// A journal that can be inspected.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// The size of the journal.
    async fn inventory(&self) -> Result<Inventory, JournalError>;

    /// The entries after position `after`, in the order of arrival, at most `limit`.
    async fn list(&self, after: Position, limit: usize) -> Result<Vec<Entry>, JournalError>;

    /// The events that were given up, after the entry `after` of the list, at most `limit`.
    async fn dropped(&self, after: i64, limit: usize) -> Result<Vec<DroppedEvent>, JournalError>;

    /// One entry with its body and its state at each sink; `None` if it does not exist or has expired.
    async fn show(&self, position: Position) -> Result<Option<(Entry, Bytes, Vec<SinkEntry>)>, JournalError>;
}

/// The size of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub events: u64,
    /// Identities stored for deduplication.
    pub identities: u64,
    /// The used bytes of the volume, without the write-ahead log.
    pub bytes: u64,
    /// The limit of the used bytes: the lesser of the configured capacity and the room of the volume.
    pub capacity_bytes: u64,
    /// When a milestone was last stored, in seconds since the epoch; also after its event has expired.
    pub last_milestone: Option<i64>,
    /// When the oldest undelivered event was received, in seconds since the epoch, by sink.
    pub oldest: BTreeMap<String, i64>,
    /// The sinks that have left the route and still have dead letters, at most 100.
    pub removed: Vec<RemovedSink>,
    /// How many events were given up for want of room since the journal was made, by sink.
    pub dropped: BTreeMap<String, u64>,
    /// The id of the last accepted request to send events again.
    pub last_redrive: Option<String>,
}

//! Sends stored events again, on request: an accepted request survives a crash, and its events become waiting retries
//! in bounded batches at a rate.

use async_trait::async_trait;

use super::{JournalError, Position};
use crate::route::redrive::RedriveProgress;

/// The largest number of events per second that a request may ask for.
pub const PER_SECOND_MAX: u32 = 250;
/// The number of requests that may be incomplete.
pub const PENDING_MAX: usize = 16;

/// A request to send events again, with the events that it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    pub id: String,
    pub per_second: u32,
    /// One for each sink to send to.
    pub parts: Vec<Part>,
}

/// The events of one request for one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub source: Source,
    /// The sink to send to.
    pub target: String,
    pub matched: Matched,
}

/// The kind of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The dead letters of this sink.
    DeadLetters { sink: String },
    /// The events received from `from` until before `to`, in seconds since the epoch.
    Received { from: i64, to: i64 },
}

/// The events that a selection matches at the time of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    pub count: u64,
    /// The first and the last of them.
    pub first: Position,
    pub last: Position,
}

/// A journal whose events can be sent again.
#[async_trait]
pub trait Redriver: Send + Sync + 'static {
    /// The events that a selection matches.
    async fn matched(&self, source: Source) -> Result<Matched, JournalError>;

    /// Whether the journal has an event at this position.
    async fn exists(&self, position: Position) -> Result<bool, JournalError>;

    /// The newest event with a delivery id.
    async fn find_delivery(&self, id: &str) -> Result<Option<Position>, JournalError>;

    /// The number of events that the accepted request with this id matches; `None` without one.
    async fn accepted(&self, id: &str) -> Result<Option<u64>, JournalError>;

    /// Accepts a request in one durable step, unless there is one with its id. Returns the number of events that the
    /// accepted one matches; `None` if too many requests are incomplete.
    async fn redrive(&self, redrive: Redrive) -> Result<Option<u64>, JournalError>;

    /// The progress of the latest requests, the newest first.
    async fn redrives(&self) -> Result<Vec<RedriveProgress>, JournalError>;
}

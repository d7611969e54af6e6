//! The journal of verified deliveries: the guarantees that the rest of the receiver relies on. An event is acknowledged
//! only after [`Journal::append`] returned; from then on it is neither lost nor stored twice.
//!
//! Each sink has its own position: all events up to it are settled for that sink (accepted, excluded or a dead letter),
//! except those that wait for a retry.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

pub use self::position::Position;
use self::{
    position::Arrivals,
    query::{DueQuery, Probe},
    tries::Tries,
};
use super::ingest::event::Event;
use crate::{
    linktree::event::EventType,
    route::{BacklogPolicy, Route, Sink, status::JournalHealth},
};

pub mod inspect;
pub mod position;
pub mod query;
pub mod redrive;
pub mod sqlite;
pub mod tries;
pub mod unavailable;

/// Maximum number of queued appends: two full commits. A longer queue would only make deliveries wait longer.
pub const QUEUE_CAPACITY: usize = 512;

/// A durable journal. All times are milliseconds since the epoch.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Stores the event unless it is a duplicate, in one durable step: once this returns `Ok`, a power cut cannot undo
    /// it. After an error the event may or may not be stored; the sender's retry is deduplicated.
    async fn append(&self, event: Event) -> Result<Appended, JournalError>;

    /// Applies the limits and sinks of a route. A new sink gets the events from now on; the waiting events of a removed
    /// sink become dead letters.
    async fn configure(&self, settings: Settings) -> Result<(), JournalError>;

    /// The events whose next attempt at `sink` is due; empty if the sink is unknown.
    async fn due(&self, sink: &str, query: DueQuery) -> Result<Due, JournalError>;

    /// An event to probe `sink` with, whose body has at most `max_bytes`; `None` if no such event waits.
    async fn probe(&self, sink: &str, probe: Probe, max_bytes: usize) -> Result<Option<Pending>, JournalError>;

    /// The events that wait for a retry at `sink`, due or not, each with the time when the retry is due: at most
    /// `limit` of those after the position `after`, in order.
    async fn waiting(&self, sink: &str, after: Position, limit: usize) -> Result<Vec<(Pending, i64)>, JournalError>;

    /// Records the outcomes of attempts to send events to `sink`, in the order of the attempts.
    async fn settle(&self, sink: &str, settlements: Vec<Settlement>) -> Result<(), JournalError>;

    /// The backlog of each sink.
    async fn backlog(&self) -> Result<Vec<Backlog>, JournalError>;

    /// Whether deliveries can be stored right now.
    fn health(&self) -> JournalHealth;

    /// The greatest body that can be stored, in bytes.
    fn body_limit(&self) -> u64 {
        u64::MAX
    }

    /// A watch on the arrivals, to wake the forwarding to the sinks.
    fn appended(&self) -> watch::Receiver<Arrivals>;

    /// Completes the writes that have started and closes the journal, so that another process can open it.
    async fn close(&self) -> Result<(), JournalError>;
}

/// The result of [`Journal::append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// New, and stored.
    Stored,
    /// Not stored again: the same delivery, or a captured one that was replayed under another delivery id.
    Duplicate,
    /// Stored, although an event with the same delivery id and another body is stored already.
    Conflict,
}

/// Why an operation of the journal failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// More writes are queued than can be written in time.
    #[error("too many writes are queued in the journal")]
    Overloaded,
    /// Undelivered events use up the volume or the configured capacity.
    #[error("the journal is full")]
    Full,
    #[error("the journal failed: {problem}")]
    Failed { problem: String },
    #[error("the journal is closed")]
    Closed,
}

/// The settings of a route for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The sinks' names.
    pub sinks: Vec<String>,
    /// The names of those whose oldest events are given up when the journal is full.
    pub drop_oldest: Vec<String>,
    pub deduplication_window_seconds: u64,
    pub retention_seconds: u64,
    pub dead_letter_retention_seconds: u64,
    pub capacity_bytes: u64,
}

impl Settings {
    #[must_use]
    pub fn of(route: &Route) -> Self {
        let drops = |sink: &&Sink| match sink.backlog_policy {
            BacklogPolicy::DropOldest => true,
            BacklogPolicy::Refuse => false,
        };
        Settings {
            sinks: route.sinks.iter().map(|sink| sink.name.clone()).collect(),
            drop_oldest: route.sinks.iter().filter(drops).map(|sink| sink.name.clone()).collect(),
            deduplication_window_seconds: route.deduplication_window_seconds,
            retention_seconds: route.retention_seconds,
            dead_letter_retention_seconds: route.dead_letter_retention_seconds,
            capacity_bytes: route.capacity_bytes,
        }
    }
}

/// The events to send to a sink now.
#[derive(Debug, Default)]
pub struct Due {
    /// Retries, in the order of their due times.
    pub retries: Vec<Pending>,
    /// Events that were not attempted yet, in the order of arrival.
    pub fresh: Vec<Pending>,
    /// When the next retry at this sink is due; `None` without a later retry.
    pub next: Option<i64>,
    /// The size of the first event that exceeds the maximum of bytes.
    pub needs: Option<usize>,
    /// The sink's position.
    pub position: Position,
    /// The number of events that the sink has taken.
    pub taken: i64,
    /// Whether at most one event waits for the sink.
    pub alone: bool,
}

/// An event that a sink has not received yet.
#[derive(Clone, Debug)]
pub struct Pending {
    pub position: Position,
    /// The failed attempts to send the event to this sink.
    pub tries: Tries,
    /// The delivery id; for a conflict, made unique by its body's digest.
    pub id: String,
    pub event_type: EventType,
    /// When Linktree signed the delivery, in seconds since the epoch.
    pub sent_at: i64,
    pub body: Bytes,
    /// Whether the event is sent again on request.
    pub replayed: bool,
}

/// The outcome of an attempt to send an event to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub position: Position,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has accepted the event.
    Done,
    /// The sink's event types or its filter exclude the event.
    Unwanted,
    /// The event must be sent again at `due_at`.
    Retry { tries: Tries, due_at: i64 },
    /// The event is not retried. It stays in the journal for its own retention, from `at` on (milliseconds since the
    /// epoch), and at least as long as a delivered event.
    DeadLetter { failure: String, at: i64 },
}

/// The numbers of one sink's waiting events and dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub sink: String,
    pub waiting: u64,
    pub dead_lettered: u64,
}

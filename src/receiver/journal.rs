//! Where verified deliveries are kept: what the rest of the receiver may rely on. An event is acknowledged only after
//! [`Journal::append`] returned, and from then on it is not lost (goals.md, I1) nor stored twice (I2).
//!
//! Each sink has a position of its own: all events up to it are settled for that sink, but for those it tries again.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::ingest::event::Event;
use crate::{
    linktree::event::EventType,
    route::{Route, status::JournalHealth},
};

pub mod inspect;
pub mod sqlite;
pub mod unavailable;

/// How many appends may wait at once: what two commits take. More would only wait longer.
pub const WAITING: usize = 512;

/// The order in which events came in. Higher is later.
pub type Position = i64;

/// A durable journal. All times are milliseconds since the epoch.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Checks the identity and keeps the event, in one durable step: when this returns `Ok`, a power cut cannot undo
    /// it. After an error the event may or may not have been kept; the sender's retry finds out.
    async fn append(&self, event: Event) -> Result<Appended, JournalError>;

    /// Takes up limits and sinks. A new sink gets the events that come from now on; what was still waiting for a sink
    /// that is gone is given up, its dead letters stay.
    async fn configure(&self, settings: Settings) -> Result<(), JournalError>;

    /// What is to be sent to `sink` at `now`, oldest first, at most `limit` events; empty if the sink is not known.
    async fn due(&self, sink: &str, now: i64, limit: usize) -> Result<Due, JournalError>;

    /// The events that are to be tried again at `sink`, due or not, and when each is due: at most `limit` of those
    /// behind `after`, in order.
    async fn waiting(&self, sink: &str, after: Position, limit: usize) -> Result<Vec<(Pending, i64)>, JournalError>;

    /// Records what became of events that were due for `sink`, in the order in which they were tried.
    async fn settle(&self, sink: &str, settlements: Vec<Settlement>) -> Result<(), JournalError>;

    /// What waits for each sink.
    async fn backlog(&self) -> Result<Vec<Backlog>, JournalError>;

    /// Whether deliveries can be kept right now.
    fn health(&self) -> JournalHealth;

    /// Changes whenever there is something new to send.
    fn appended(&self) -> watch::Receiver<Position>;

    /// Finishes what was begun and lets the journal go, so that another process may open it.
    async fn close(&self) -> Result<(), JournalError>;
}

/// What [`Journal::append`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// New, and kept.
    Stored,
    /// Kept before: the same delivery again, or a captured one under another delivery id.
    Duplicate,
    /// Kept, although its delivery id had come with another body before.
    Conflict,
}

/// Why the journal did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// More is waiting to be written than can be written in time.
    #[error("too many deliveries are waiting to be written")]
    Overloaded,
    /// The volume, or the configured capacity, is used up by events that are not delivered yet.
    #[error("the journal is full")]
    Full,
    #[error("the journal failed: {problem}")]
    Failed { problem: String },
    #[error("the journal is closed")]
    Closed,
}

/// What a route says about the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The sinks' names.
    pub sinks: Vec<String>,
    pub deduplication_window_seconds: u64,
    pub retention_seconds: u64,
    pub capacity_bytes: u64,
}

impl Settings {
    #[must_use]
    pub fn of(route: &Route) -> Self {
        Settings {
            sinks: route.sinks.iter().map(|sink| sink.name.clone()).collect(),
            deduplication_window_seconds: route.deduplication_window_seconds,
            retention_seconds: route.retention_seconds,
            capacity_bytes: route.capacity_bytes,
        }
    }
}

/// What is to be sent to a sink.
#[derive(Debug, Default)]
pub struct Due {
    pub events: Vec<Pending>,
    /// When the next event that is not due yet will be.
    pub next: Option<i64>,
}

/// An event that a sink has not had yet.
#[derive(Clone, Debug)]
pub struct Pending {
    pub position: Position,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// The delivery id; for a conflict, made unique by its body's digest.
    pub id: String,
    pub event_type: EventType,
    /// When it was signed, in seconds since the epoch.
    pub sent_at: i64,
    pub body: Bytes,
}

/// What became of an event that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub position: Position,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has it, or does not want it.
    Done,
    /// It was tried `attempts` times in vain and is due again at `due_at`.
    Retry { attempts: u32, due_at: i64 },
    /// It is not tried again. It stays in the journal for as long as a delivered event does.
    DeadLetter { failure: String, at: i64 },
}

/// What waits for one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub sink: String,
    pub waiting: u64,
    pub dead_lettered: u64,
}

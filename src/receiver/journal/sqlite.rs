//! The embedded journal: one SQLite database in its own directory, which only one process at a time can use.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
};

use async_trait::async_trait;
use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};
use tokio_util::sync::CancellationToken;

use self::{
    checkpoint::Wal,
    drops::Drops,
    error::OpenError,
    expire::Expiry,
    identities::PendingIdentities,
    queue::{Answer, Request, Requests, Work, queue},
    reader::Reader,
    schedule::Schedule,
    shared_memory::SharedMemory,
    volume_room::{Reported, VolumeRoom},
    writer::Writer,
};
use super::{
    Appended, Backlog, Due, Journal, JournalError, Pending, Position, Settings, Settlement,
    position::Arrivals,
    query::{DueQuery, Probe},
};
use crate::{clock, receiver::ingest::event::Event, route::status::JournalHealth};

mod append;
mod background;
mod ballast;
mod bounds;
mod budget;
mod checkpoint;
mod clock_jumps;
mod commit_size;
mod counts;
mod drop_oldest;
mod drops;
mod due;
pub mod error;
mod expire;
mod expiry_clock;
mod identities;
mod inspect;
mod maintenance;
mod pending_index;
mod prune;
mod queue;
mod reader;
mod redrive;
mod redriver;
mod removed;
mod restart;
mod room;
mod schedule;
mod schema;
mod settle;
mod shared_memory;
mod steady_clock;
mod volume;
mod volume_room;
mod writer;

/// A journal in a directory. Dropping it ends its threads; [`Journal::close`] also waits for writes that have started.
#[derive(Debug)]
pub struct SqliteJournal {
    requests: Requests,
    reader: Reader,
    health: watch::Receiver<JournalHealth>,
    appended: watch::Receiver<Arrivals>,
    lost: CancellationToken,
    limits: Arc<Reported>,
}

impl SqliteJournal {
    /// Opens the journal in `directory`, which is created if missing. `commits` records the duration of commits.
    /// Nothing expires before the first [`Journal::configure`]. Must be called inside a Tokio runtime, which sends the
    /// answers.
    ///
    /// # Errors
    /// If another process uses it, it is of a later version, the volume fails, or the volume is on a network file
    /// system.
    pub fn open(directory: &Path, commits: Histogram) -> Result<Self, OpenError> {
        make_durable(directory)?;
        if let Some(kind) = volume::network(directory)? {
            return Err(OpenError::Network { kind });
        }
        let lock = schema::Lock::acquire(directory)?;
        let room = VolumeRoom::new(directory);
        let mut connection = schema::open(directory, room.bounds())?;
        let shared_memory = SharedMemory::allocate(directory)?;
        let (reader, readers) = Reader::start(schema::open_for_reading(directory)?)?;
        let last = append::last_position(&connection)?;
        let last_identity = identities::last_number(&connection)?;
        let pending = PendingIdentities::load(&connection)?;
        let expiry = Expiry::load(&connection)?;
        let (requests, waiting) = queue();
        let (health, health_seen) = watch::channel(JournalHealth::Healthy);
        let (appended, appended_seen) = watch::channel(Arrivals { last, requeued: 0 });
        let settings = Settings {
            sinks: Vec::new(),
            drop_oldest: Vec::new(),
            deduplication_window_seconds: u64::MAX,
            retention_seconds: u64::MAX,
            dead_letter_retention_seconds: u64::MAX,
            capacity_bytes: u64::MAX,
        };
        let lost = CancellationToken::new();
        let limits = room.reported();
        let wal = Wal::watch(&mut connection, directory, readers, lost.clone(), room.bounds())?;
        let writer = Writer {
            connection,
            wal,
            room,
            lock,
            shared_memory,
            requests: waiting,
            expiry,
            settings,
            last,
            last_identity,
            pending,
            health,
            appended,
            commits,
            runtime: Handle::current(),
            nothing_to_evict: false,
            drops: Drops::new(),
            convert_at: Some(clock::monotonic()),
            redrive_at: Some(clock::monotonic()),
            maintenance: Schedule::new(clock::monotonic()),
            began: clock::monotonic(),
            group_commit: false,
            lost: lost.clone(),
        };
        thread::Builder::new().name("journal-writer".into()).spawn(clock::inherited(move || writer.run()))?;
        Ok(SqliteJournal { requests, reader, health: health_seen, appended: appended_seen, lost, limits })
    }

    /// Cancelled once a sync has failed. From then on nothing is written; only another process can continue, because it
    /// reads the true state of the disk.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Queues `work` and waits for its answer. It fails at once if the queue is full.
    async fn write(&self, work: Work) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.requests.push(Request { work, answer })?;
        answered.await.map_err(|_| JournalError::Closed)?
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, event: Event) -> Result<Appended, JournalError> {
        self.write(Work::Append(event)).await?.ok_or(JournalError::Closed)
    }

    async fn configure(&self, settings: Settings) -> Result<(), JournalError> {
        self.write(Work::Configure(settings)).await.map(|_| ())
    }

    async fn due(&self, sink: &str, query: DueQuery) -> Result<Due, JournalError> {
        let sink = sink.to_owned();
        self.reader.read(move |connection| due::due(connection, &sink, query)).await
    }

    async fn probe(&self, sink: &str, probe: Probe, max_bytes: usize) -> Result<Option<Pending>, JournalError> {
        let sink = sink.to_owned();
        self.reader.read(move |connection| due::probe(connection, &sink, probe, max_bytes)).await
    }

    async fn waiting(&self, sink: &str, after: Position, limit: usize) -> Result<Vec<(Pending, i64)>, JournalError> {
        let sink = sink.to_owned();
        self.reader.read(move |connection| due::waiting(connection, &sink, after, limit)).await
    }

    async fn settle(&self, sink: &str, settlements: Vec<Settlement>) -> Result<(), JournalError> {
        self.write(Work::Settle { sink: sink.to_owned(), settlements }).await.map(|_| ())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, JournalError> {
        self.reader.read(due::backlog).await
    }

    fn health(&self) -> JournalHealth {
        match self.health.has_changed() {
            Ok(_) => self.health.borrow().clone(),
            Err(_) => JournalHealth::Failed { problem: "the journal's writer thread has ended".to_owned() },
        }
    }

    fn body_limit(&self) -> u64 {
        self.limits.body.load(Ordering::Relaxed)
    }

    fn appended(&self) -> watch::Receiver<Arrivals> {
        self.appended.clone()
    }

    async fn close(&self) -> Result<(), JournalError> {
        let (answer, answered) = oneshot::channel();
        self.requests.close(answer)?;
        answered.await.map_err(|_| JournalError::Closed)?.map(|_| ())
    }
}

/// Creates a directory that survives a power cut: its name is durable only once its parent is synced, and SQLite syncs
/// no directory above its own.
fn make_durable(directory: &Path) -> std::io::Result<()> {
    let missing = directory.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    fs::create_dir_all(directory)?;
    // An earlier process may have created the last one and crashed before the sync, so that parent is always synced; if
    // it is not readable for us, the directory is a mounted volume that was not created here.
    for parent in directory.ancestors().skip(1).take(missing.max(1)) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match fs::File::open(parent) {
            Ok(parent) => parent.sync_all()?,
            Err(error) if missing == 0 && error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

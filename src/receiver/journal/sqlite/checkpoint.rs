//! Checkpoints the write-ahead log (WAL). SQLite by itself checkpoints a long log within a commit, which delays every
//! request that waits for that commit. Here a thread with its own connection does it while the writer continues, in
//! passes that become shorter, until one ends before the next write; then the log restarts. If the writer never pauses
//! that long, it checkpoints the small remainder itself.
//!
//! The log has a limit, see [`super::bounds`]. Before a transaction that could exceed it, the writer restarts the
//! log itself. A reader's snapshot prevents that, so readers that take too long are interrupted.
//!
//! Until its pages are synced in the database, the log has them: a failed checkpoint loses nothing.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver, SyncSender, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, Result, ffi};
use tokio_util::sync::CancellationToken;

use super::{
    bounds::Bounds,
    error::{OpenError, is_busy, sync_failed},
    restart::Readers,
    schema,
};
use crate::clock;

/// Length of the log, in pages of 8 KiB, that starts a checkpoint. This and the other lengths are parts of the log on a
/// small volume, see [`Wal::part`].
const CHECKPOINT_AT_PAGES: u32 = 250;
/// Length from which the writer checkpoints the rest itself, once that is at most [`INLINE_MAX_PAGES`]: one write and
/// one sync of the database.
const INLINE_AT_PAGES: u32 = 8 * CHECKPOINT_AT_PAGES;
const INLINE_MAX_PAGES: u32 = 64;
/// Length at which the writer waits for the thread, or the log would grow as long as the disk is slow.
const BLOCK_AT_PAGES: u32 = 16 * CHECKPOINT_AT_PAGES;

/// The delay before a failed checkpoint is retried, or one that a reader held up.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long a restart of the log waits for readers before it interrupts them, and again after that.
const READER_GRACE: Duration = Duration::from_millis(50);
/// How many times a restart interrupts readers before it fails: more only if another process reads.
const INTERRUPTIONS: u32 = 10;
/// The interval at which a restart is tried while readers prevent it.
const RESTART_INTERVAL: Duration = Duration::from_millis(1);

/// The write-ahead log, as the writer sees it.
pub(super) struct Wal {
    bounds: Bounds,
    /// The length of the log at the last commit, in pages.
    pages: Arc<AtomicU32>,
    /// How many of them are in the database.
    checkpointed: u32,
    /// The length at the start of the last checkpoint, and when that was: before the log has grown, another one can do
    /// more only if a reader has ended meanwhile.
    tried: Option<(u32, Instant)>,
    failure: Option<Failure>,
    thread: Checkpointer,
    readers: Readers,
}

/// The failure of the last checkpoint.
#[derive(Debug)]
struct Failure {
    /// When the next attempt is due.
    retry_at: Instant,
    code: i32,
    problem: String,
}

impl Failure {
    fn of(error: &rusqlite::Error, retry_at: Instant) -> Self {
        let code = error.sqlite_error().map_or(ffi::SQLITE_ERROR, |error| error.extended_code);
        Failure { retry_at, code, problem: error.to_string() }
    }

    /// The same error again.
    fn error(&self) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(self.code), Some(self.problem.clone()))
    }
}

impl Wal {
    /// Watches the log of `connection`, the writer's, to the database in `directory`. `readers` interrupts
    /// reading queries. A failed sync cancels `lost`.
    pub(super) fn watch(
        connection: &mut Connection,
        directory: &Path,
        readers: Readers,
        lost: CancellationToken,
        bounds: Bounds,
    ) -> std::result::Result<Self, OpenError> {
        let pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&pages);
        // Our hook replaces SQLite's own, which checkpoints within a commit.
        connection.wal_hook(Some(move |_: &mut _, pages| {
            seen.store(u32::try_from(pages).unwrap_or(u32::MAX), Ordering::Relaxed);
            Ok(())
        }))?;
        let thread = Checkpointer::start(directory.to_owned(), lost)?;
        Ok(Wal { bounds, pages, checkpointed: 0, tried: None, failure: None, thread, readers })
    }

    /// Changes the limit of the log of `connection`, the writer's. A longer log is cut when it restarts.
    ///
    /// # Errors
    /// If SQLite rejects the limit.
    pub(super) fn limit(&mut self, connection: &Connection, bounds: Bounds) -> Result<()> {
        if self.bounds != bounds {
            schema::limit_log(connection, bounds)?;
            self.bounds = bounds;
        }
        Ok(())
    }

    /// Makes the next attempt due at once, after the cause of a failure is removed.
    pub(super) fn retry_now(&mut self) {
        self.failure = None;
    }

    /// A length, or the same part of a shorter log.
    fn part(&self, pages: u32) -> u32 {
        let longest = 16 * CHECKPOINT_AT_PAGES;
        let part = u64::from(pages) * u64::from(self.bounds.log_pages().min(longest)) / u64::from(longest);
        u32::try_from(part).unwrap_or(pages)
    }

    /// Whether the last checkpoint succeeded.
    pub(super) fn is_healthy(&self) -> bool {
        self.failure.is_none()
    }

    /// The last failure at `now`, before the next attempt is due.
    fn failing(&self, now: Instant) -> Option<&Failure> {
        self.failure.as_ref().filter(|failure| now < failure.retry_at)
    }

    /// Starts or completes a checkpoint if the log is long. Called after each commit of `connection`.
    ///
    /// # Errors
    /// If log or database cannot be written or synced. Committed transactions are not affected.
    pub(super) fn maybe_checkpoint(&mut self, connection: &Connection, now: Instant) -> Result<()> {
        if self.failing(now).is_some() {
            return Ok(());
        }
        match self.try_checkpoint(connection, now) {
            Ok(true) => self.failure = None,
            Ok(false) => {}
            // Another process checkpoints.
            Err(error) if is_busy(&error) => {}
            Err(error) => {
                self.failure = Some(Failure::of(&error, now + RETRY_DELAY));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether a transaction that writes at most `pages` keeps the log within its limit.
    pub(super) fn has_room(&self, pages: u32) -> bool {
        self.pages.load(Ordering::Relaxed).saturating_add(pages) <= self.bounds.log_pages()
    }

    /// Makes room for a transaction of `connection`, the writer's, that writes at most `pages`: restarts the log if it
    /// could exceed its limit otherwise. Called outside of transactions.
    ///
    /// # Errors
    /// If log or database cannot be written or synced, or another process holds a snapshot: then nothing more can be
    /// written without exceeding the limit.
    pub(super) fn make_room(&mut self, connection: &Connection, pages: u32, now: Instant) -> Result<()> {
        if self.has_room(pages) {
            return Ok(());
        }
        if let Some(failure) = self.failing(now) {
            return Err(failure.error());
        }
        let restarted = self.restart(connection);
        self.failure = restarted.as_ref().err().map(|error| Failure::of(error, clock::monotonic() + RETRY_DELAY));
        restarted
    }

    /// Like [`Wal::make_room`], for a transaction that can wait: waits for no checkpoint and no reader. Returns whether
    /// there is room.
    ///
    /// # Errors
    /// If log or database cannot be written or synced.
    pub(super) fn try_make_room(&mut self, connection: &Connection, pages: u32, now: Instant) -> Result<bool> {
        if self.has_room(pages) {
            return Ok(true);
        }
        if self.failing(now).is_some() {
            return Ok(false);
        }
        if let Some(checkpointed) = self.thread.done(false) {
            self.checkpointed = checkpointed?;
        }
        if self.thread.running {
            return Ok(false);
        }
        match restart_checkpoint(connection) {
            Ok(restarted) => {
                if restarted {
                    self.restarted();
                }
                Ok(restarted)
            }
            Err(error) if is_busy(&error) => Ok(false),
            Err(error) => {
                self.failure = Some(Failure::of(&error, now + RETRY_DELAY));
                Err(error)
            }
        }
    }

    /// Checkpoints the whole log, so that the next commit writes at its start.
    fn restart(&mut self, connection: &Connection) -> Result<()> {
        if let Some(checkpointed) = self.thread.done(true) {
            self.checkpointed = checkpointed?;
        }
        let _restarting = self.readers.restarts.begin();
        // Without the time of the checkpoint itself, which may be long on a slow disk.
        let mut waiting_since = None;
        let mut interruptions = 0;
        while !restart_checkpoint(connection)? {
            if clock::since(*waiting_since.get_or_insert_with(clock::monotonic)) >= READER_GRACE {
                if interruptions == INTERRUPTIONS {
                    return Err(held_by_reader());
                }
                self.readers.queries.interrupt();
                interruptions += 1;
                waiting_since = None;
            }
            thread::sleep(RESTART_INTERVAL);
        }
        self.restarted();
        Ok(())
    }

    fn restarted(&mut self) {
        self.pages.store(0, Ordering::Relaxed);
        (self.checkpointed, self.tried, self.failure) = (0, None, None);
    }

    /// Returns whether the log is short or a checkpoint made progress.
    fn try_checkpoint(&mut self, connection: &Connection, now: Instant) -> Result<bool> {
        let pages = self.pages.load(Ordering::Relaxed);
        // Fewer pages than are in the database: the log has restarted.
        self.checkpointed = self.checkpointed.min(pages);
        let start = self.part(CHECKPOINT_AT_PAGES);
        let mut fine = pages < start;
        if let Some(checkpointed) = self.thread.done(pages >= self.part(BLOCK_AT_PAGES)) {
            self.checkpointed = checkpointed?;
            fine = true;
        }
        if pages < start || self.thread.running || !self.is_due(pages, now) {
            return Ok(fine);
        }
        self.tried = Some((pages, now));
        let inline = pages >= self.part(INLINE_AT_PAGES) && pages - self.checkpointed <= INLINE_MAX_PAGES;
        if inline || !self.thread.begin() {
            self.checkpointed = passive_checkpoint(connection)?;
            fine = true;
        }
        Ok(fine)
    }

    /// Whether a checkpoint of a log of this length could do more than the last one.
    fn is_due(&self, pages: u32, now: Instant) -> bool {
        self.tried.is_none_or(|(length, at)| {
            pages != length || (self.checkpointed < pages && now.saturating_duration_since(at) >= RETRY_DELAY)
        })
    }
}

/// The checkpoint thread, which ends when this is dropped.
#[derive(Debug)]
struct Checkpointer {
    start: Option<SyncSender<()>>,
    done: Receiver<Result<u32>>,
    running: bool,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    fn start(directory: PathBuf, lost: CancellationToken) -> std::io::Result<Self> {
        let (start, starts) = mpsc::sync_channel(1);
        let (results, done) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("journal-log".into()).spawn(move || {
            let mut connection = None;
            for () in starts {
                let checkpointed = checkpoint(&mut connection, &directory);
                if checkpointed.as_ref().is_err_and(sync_failed) {
                    // Before the result reaches the writer, which answers no request from here on.
                    lost.cancel();
                }
                if results.send(checkpointed).is_err() {
                    return;
                }
            }
        })?;
        Ok(Checkpointer { start: Some(start), done, running: false, thread: Some(thread) })
    }

    /// Starts a checkpoint. Returns whether the thread is still running to do it.
    fn begin(&mut self) -> bool {
        self.running = self.start.as_ref().is_some_and(|start| start.try_send(()).is_ok());
        self.running
    }

    /// The number of checkpointed pages, if the checkpoint has ended; waits for that if `wait`.
    fn done(&mut self, wait: bool) -> Option<Result<u32>> {
        if !self.running {
            return None;
        }
        let done = if wait { self.done.recv().map_err(TryRecvError::from) } else { self.done.try_recv() };
        self.running = matches!(done, Err(TryRecvError::Empty));
        done.ok()
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.start.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Checkpoints over the thread's own connection, which is reopened after a failure: if SQLite could not open the files
/// for writing, it would stay read-only.
fn checkpoint(connection: &mut Option<Connection>, directory: &Path) -> Result<u32> {
    let open = match connection.take() {
        Some(open) => open,
        None => schema::open_for_checkpoints(directory)?,
    };
    let checkpointed = passive_checkpoint(&open)?;
    *connection = Some(open);
    Ok(checkpointed)
}

/// Checkpoints all pages that no reader blocks, without waiting. Returns the number of pages of the log that are in the
/// database, counted from its start.
fn passive_checkpoint(connection: &Connection) -> Result<u32> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
    let checkpointed: i64 = statement.query_row([], |row| row.get(2))?;
    // -1 without a log.
    Ok(u32::try_from(checkpointed).unwrap_or(0))
}

/// Checkpoints all pages and restarts the log. Returns whether no reader prevented it.
fn restart_checkpoint(connection: &Connection) -> Result<bool> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(RESTART)")?;
    statement.query_row([], |row| row.get::<_, i64>(0)).map(|busy| busy == 0)
}

fn held_by_reader() -> rusqlite::Error {
    let problem = "the write-ahead log is at its limit and another process reads it";
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), Some(problem.to_owned()))
}

impl std::fmt::Debug for Wal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Wal { bounds, pages, checkpointed, tried: _, failure, thread, readers: _ } = self;
        let mut wal = f.debug_struct("Wal");
        wal.field("bounds", bounds).field("pages", pages).field("checkpointed", checkpointed).field("failure", failure);
        wal.field("thread", thread).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

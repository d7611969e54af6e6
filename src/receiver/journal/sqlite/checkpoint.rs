//! Checkpoints the write-ahead log (WAL). SQLite by itself checkpoints a long log within a commit, which delays every
//! request that waits for that commit. Here a thread with its own connection does it while the writer continues, in
//! passes that become shorter, until one ends before the next write; then the log restarts. If the writer never pauses
//! that long, it checkpoints the small remainder itself.
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

use rusqlite::{Connection, Result};
use tokio_util::sync::CancellationToken;

use super::{
    error::{OpenError, sync_failed},
    schema,
};

/// Length of the log, in pages of 8 KiB, that starts a checkpoint.
const CHECKPOINT_AT_PAGES: u32 = 250;
/// Length from which the writer checkpoints the rest itself, once that is at most [`INLINE_MAX_PAGES`]: one write and
/// one sync of the database.
const INLINE_AT_PAGES: u32 = 8 * CHECKPOINT_AT_PAGES;
const INLINE_MAX_PAGES: u32 = 64;
/// Length at which the writer waits for the thread, or the log would grow as long as the disk is slow.
const BLOCK_AT_PAGES: u32 = 16 * CHECKPOINT_AT_PAGES;

/// The delay before a failed checkpoint is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The write-ahead log, as the writer sees it.
#[derive(Debug)]
pub(super) struct Wal {
    /// The length of the log at the last commit, in pages.
    pages: Arc<AtomicU32>,
    /// How many of them are in the database.
    checkpointed: u32,
    /// After a failure, when the next attempt is due.
    retry_at: Option<Instant>,
    thread: Checkpointer,
}

impl Wal {
    /// Watches the log of `connection`, the writer's, to the database in `directory`. A failed sync cancels `lost`.
    pub(super) fn watch(
        connection: &mut Connection,
        directory: &Path,
        lost: CancellationToken,
    ) -> std::result::Result<Self, OpenError> {
        let pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&pages);
        // Our hook replaces SQLite's own, which checkpoints within a commit.
        connection.wal_hook(Some(move |_: &mut _, pages| {
            seen.store(u32::try_from(pages).unwrap_or(u32::MAX), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Wal { pages, checkpointed: 0, retry_at: None, thread: Checkpointer::start(directory.to_owned(), lost)? })
    }

    /// Whether the last checkpoint succeeded.
    pub(super) fn is_healthy(&self) -> bool {
        self.retry_at.is_none()
    }

    /// Starts or completes a checkpoint if the log is long. Called after each commit of `connection`.
    ///
    /// # Errors
    /// If log or database cannot be written or synced. Committed transactions are not affected.
    pub(super) fn maybe_checkpoint(&mut self, connection: &Connection, now: Instant) -> Result<()> {
        if self.retry_at.is_some_and(|retry_at| now < retry_at) {
            return Ok(());
        }
        let done = self.try_checkpoint(connection);
        match &done {
            Ok(true) => self.retry_at = None,
            Ok(false) => {}
            Err(_) => self.retry_at = Some(now + RETRY_DELAY),
        }
        done.map(|_| ())
    }

    /// Returns whether the log is short or a checkpoint made progress.
    fn try_checkpoint(&mut self, connection: &Connection) -> Result<bool> {
        let pages = self.pages.load(Ordering::Relaxed);
        // Fewer pages than are in the database: the log has restarted.
        self.checkpointed = self.checkpointed.min(pages);
        let mut fine = pages < CHECKPOINT_AT_PAGES;
        if let Some(checkpointed) = self.thread.done(pages >= BLOCK_AT_PAGES) {
            self.checkpointed = checkpointed?;
            fine = true;
        }
        if pages < CHECKPOINT_AT_PAGES || self.thread.running {
            return Ok(fine);
        }
        let inline = pages >= INLINE_AT_PAGES && pages - self.checkpointed <= INLINE_MAX_PAGES;
        if inline || !self.thread.begin() {
            self.checkpointed = passive_checkpoint(connection)?;
            fine = true;
        }
        Ok(fine)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// A writer that commits a dozen pages at a time and checks in the end that none is missing.
    struct Writing {
        directory: tempfile::TempDir,
        connection: Connection,
        wal: Wal,
        commits: u32,
    }

    impl Writing {
        fn begin() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let mut connection = schema::open(directory.path()).unwrap();
            // No power cut is simulated here, and a thousand syncs take their time.
            connection.pragma_update(None, "synchronous", "OFF").unwrap();
            connection.execute_batch("CREATE TABLE written (id INTEGER PRIMARY KEY, body BLOB)").unwrap();
            let wal = Wal::watch(&mut connection, directory.path(), CancellationToken::new()).unwrap();
            Writing { directory, connection, wal, commits: 0 }
        }

        /// Writes until `enough`; returns the maximum length of the log.
        fn until(&mut self, enough: impl Fn(&Wal) -> bool) -> u32 {
            let mut longest = 0;
            for _ in 0..20_000 {
                if enough(&self.wal) {
                    return longest;
                }
                self.connection.execute("INSERT INTO written (body) VALUES (zeroblob(100000))", []).unwrap();
                self.commits += 1;
                longest = longest.max(self.pages());
                self.wal.maybe_checkpoint(&self.connection, clock::monotonic()).unwrap();
            }
            panic!("not after {} commits: {:?}", self.commits, self.wal)
        }

        fn pages(&self) -> u32 {
            self.wal.pages.load(Ordering::Relaxed)
        }

        /// Checks that the database alone has all commits.
        fn end(self) {
            let Writing { directory, connection, wal, commits } = self;
            drop((wal, connection));
            let connection = schema::open(directory.path()).unwrap();
            let there = "SELECT count(*) FROM written WHERE length(body) = 100000";
            assert_eq!(connection.query_row(there, [], |row| row.get::<_, u32>(0)).unwrap(), commits);
        }
    }

    #[test]
    fn the_log_restarts_repeatedly_while_the_writer_writes() {
        let mut writing = Writing::begin();
        for _ in 0..3 {
            writing.until(|wal| wal.pages.load(Ordering::Relaxed) >= CHECKPOINT_AT_PAGES);
            let longest = writing.until(|wal| wal.pages.load(Ordering::Relaxed) < CHECKPOINT_AT_PAGES);
            assert!(longest < BLOCK_AT_PAGES + CHECKPOINT_AT_PAGES, "{longest} pages");
        }
        writing.end();
    }

    #[test]
    fn a_reader_blocks_the_checkpoint_only_while_it_reads() {
        let mut writing = Writing::begin();
        writing.until(|wal| wal.pages.load(Ordering::Relaxed) >= CHECKPOINT_AT_PAGES / 2);
        let mut reader = schema::open_for_reading(writing.directory.path()).unwrap();
        let reading = reader.transaction().unwrap();
        reading.query_row("SELECT count(*) FROM written", [], |_| Ok(())).unwrap();
        writing.until(|wal| wal.pages.load(Ordering::Relaxed) >= 2 * CHECKPOINT_AT_PAGES);
        assert!(writing.wal.checkpointed < CHECKPOINT_AT_PAGES, "pages in use by a reader stay in the log");
        drop(reading);
        writing.until(|wal| wal.pages.load(Ordering::Relaxed) < CHECKPOINT_AT_PAGES);
        drop(reader);
        writing.end();
    }

    #[test]
    fn a_connection_that_cannot_write_is_reopened() {
        let mut writing = Writing::begin();
        writing.until(|wal| wal.pages.load(Ordering::Relaxed) >= CHECKPOINT_AT_PAGES / 2);
        let directory = writing.directory.path();
        let mut connection = Some(schema::open_for_reading(directory).unwrap());
        assert!(checkpoint(&mut connection, directory).is_err());
        assert!(checkpoint(&mut connection, directory).unwrap() >= CHECKPOINT_AT_PAGES / 2);
    }

    #[test]
    fn a_short_log_is_healthy_after_earlier_failures() {
        let mut writing = Writing::begin();
        writing.wal.retry_at = Some(clock::monotonic());
        assert!(!writing.wal.is_healthy());
        writing.until(|wal| wal.is_healthy());
        assert_eq!(writing.commits, 1);
    }
}

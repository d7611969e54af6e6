//! Keeps the write-ahead log short. SQLite by itself brings a long log into the database within a commit, and everybody who
//! waits for that commit waits for it too. Here a thread with a connection of its own does it while the writer goes on, in
//! passes that become shorter, until one ends before the writer writes again; then the log begins anew. Where the writer
//! never pauses for that long, it does the last little bit itself.
//!
//! Until its pages are synced in the database, the log has them: a checkpoint that fails loses nothing.

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

/// From so many pages (of 8 KiB) on, the log is checkpointed into the database.
const CHECKPOINT_AT_PAGES: u32 = 250;
/// From so many on, the writer does what is left, once that is little: a write and a sync of the database.
const INLINE_AT_PAGES: u32 = 8 * CHECKPOINT_AT_PAGES;
const INLINE_MAX_PAGES: u32 = 64;
/// At so many the writer waits for the thread, or the log would grow for as long as the disk is slow.
const BLOCK_AT_PAGES: u32 = 16 * CHECKPOINT_AT_PAGES;

/// After a failure it is tried retry_at this much later.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The log, as the writer sees it.
#[derive(Debug)]
pub(super) struct Wal {
    /// How many pages it has had at the last commit.
    pages: Arc<AtomicU32>,
    /// How many of them are in the database.
    checkpointed: u32,
    /// After a failure, when it is tried again.
    retry_at: Option<Instant>,
    thread: Checkpointer,
}

impl Wal {
    /// Watches the log of `connection`, the writer's, to the database in `directory`. `lost` is cancelled by a sync that fails.
    pub(super) fn watch(
        connection: &mut Connection,
        directory: &Path,
        lost: CancellationToken,
    ) -> std::result::Result<Self, OpenError> {
        let pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&pages);
        // A hook of one's own takes the place of SQLite's, which is what makes a commit do it.
        connection.wal_hook(Some(move |_: &mut _, pages| {
            seen.store(u32::try_from(pages).unwrap_or(u32::MAX), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Wal { pages, checkpointed: 0, retry_at: None, thread: Checkpointer::start(directory.to_owned(), lost)? })
    }

    /// Whether it could be checkpointed in, the last time that was tried.
    pub(super) fn is_healthy(&self) -> bool {
        self.retry_at.is_none()
    }

    /// Does what is to be done after a commit of `connection`.
    ///
    /// # Errors
    /// When log or database cannot be written or synced. Nothing that was committed is in doubt.
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

    /// Returns whether the log is short, or a piece of it was checkpointed in.
    fn try_checkpoint(&mut self, connection: &Connection) -> Result<bool> {
        let pages = self.pages.load(Ordering::Relaxed);
        // Fewer than are in the database: it has begun anew.
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

/// The thread, which ends when this is dropped.
#[derive(Debug)]
struct Checkpointer {
    asked: Option<SyncSender<()>>,
    done: Receiver<Result<u32>>,
    running: bool,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    fn start(directory: PathBuf, lost: CancellationToken) -> std::io::Result<Self> {
        let (asked, asking) = mpsc::sync_channel(1);
        let (tell, done) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("journal-log".into()).spawn(move || {
            let mut connection = None;
            for () in asking {
                let checkpointed = checkpoint(&mut connection, &directory);
                if checkpointed.as_ref().is_err_and(sync_failed) {
                    // Before the writer can be told: it answers nothing any more from here on.
                    lost.cancel();
                }
                if tell.send(checkpointed).is_err() {
                    return;
                }
            }
        })?;
        Ok(Checkpointer { asked: Some(asked), done, running: false, thread: Some(thread) })
    }

    /// Has it done. Returns whether the thread is still there to do it.
    fn begin(&mut self) -> bool {
        self.running = self.asked.as_ref().is_some_and(|asked| asked.try_send(()).is_ok());
        self.running
    }

    /// How many pages of the log are in the database, if what was begun has ended; that is waited for if need be.
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
        drop(self.asked.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Brings the log in over a connection of the thread's own. It is made anew after a failure: where SQLite could not open
/// the files for writing it goes on with what can only be read, for good.
fn checkpoint(connection: &mut Option<Connection>, directory: &Path) -> Result<u32> {
    let open = match connection.take() {
        Some(open) => open,
        None => schema::open_for_checkpoints(directory)?,
    };
    let checkpointed = passive_checkpoint(&open)?;
    *connection = Some(open);
    Ok(checkpointed)
}

/// Brings into the database what no reader stands in the way of, without waiting for anybody. Returns how many pages of
/// the log are in it, from the log's beginning.
fn passive_checkpoint(connection: &Connection) -> Result<u32> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
    let checkpointed: i64 = statement.query_row([], |row| row.get(2))?;
    // -1 where there is no log.
    Ok(u32::try_from(checkpointed).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// Commits of the writer's, a dozen pages each, of which none may be missing in the end.
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
            // Nothing is cut off here, and a thousand syncs take their time.
            connection.pragma_update(None, "synchronous", "OFF").unwrap();
            connection.execute_batch("CREATE TABLE written (id INTEGER PRIMARY KEY, body BLOB)").unwrap();
            let wal = Wal::watch(&mut connection, directory.path(), CancellationToken::new()).unwrap();
            Writing { directory, connection, wal, commits: 0 }
        }

        /// Writes until `enough`; returns how long the log has been at most.
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

        /// Whether all is there for who has only the database.
        fn end(self) {
            let Writing { directory, connection, wal, commits } = self;
            drop((wal, connection));
            let connection = schema::open(directory.path()).unwrap();
            let there = "SELECT count(*) FROM written WHERE length(body) = 100000";
            assert_eq!(connection.query_row(there, [], |row| row.get::<_, u32>(0)).unwrap(), commits);
        }
    }

    #[test]
    fn the_log_begins_anew_again_and_again_while_the_writer_goes_on() {
        let mut writing = Writing::begin();
        for _ in 0..3 {
            writing.until(|wal| wal.pages.load(Ordering::Relaxed) >= CHECKPOINT_AT_PAGES);
            let longest = writing.until(|wal| wal.pages.load(Ordering::Relaxed) < CHECKPOINT_AT_PAGES);
            assert!(longest < BLOCK_AT_PAGES + CHECKPOINT_AT_PAGES, "{longest} pages");
        }
        writing.end();
    }

    #[test]
    fn a_reader_holds_it_up_no_longer_than_it_reads() {
        let mut writing = Writing::begin();
        writing.until(|wal| wal.pages.load(Ordering::Relaxed) >= CHECKPOINT_AT_PAGES / 2);
        let mut reader = schema::open_for_reading(writing.directory.path()).unwrap();
        let reading = reader.transaction().unwrap();
        reading.query_row("SELECT count(*) FROM written", [], |_| Ok(())).unwrap();
        writing.until(|wal| wal.pages.load(Ordering::Relaxed) >= 2 * CHECKPOINT_AT_PAGES);
        assert!(writing.wal.checkpointed < CHECKPOINT_AT_PAGES, "what is read stays where it is");
        drop(reading);
        writing.until(|wal| wal.pages.load(Ordering::Relaxed) < CHECKPOINT_AT_PAGES);
        drop(reader);
        writing.end();
    }

    #[test]
    fn a_connection_that_cannot_write_is_given_up() {
        let mut writing = Writing::begin();
        writing.until(|wal| wal.pages.load(Ordering::Relaxed) >= CHECKPOINT_AT_PAGES / 2);
        let directory = writing.directory.path();
        let mut connection = Some(schema::open_for_reading(directory).unwrap());
        assert!(checkpoint(&mut connection, directory).is_err());
        assert!(checkpoint(&mut connection, directory).unwrap() >= CHECKPOINT_AT_PAGES / 2);
    }

    #[test]
    fn a_log_that_has_become_short_is_healthy_whatever_went_wrong_before() {
        let mut writing = Writing::begin();
        writing.wal.retry_at = Some(clock::monotonic());
        assert!(!writing.wal.is_healthy());
        writing.until(|wal| wal.is_healthy());
        assert_eq!(writing.commits, 1);
    }
}

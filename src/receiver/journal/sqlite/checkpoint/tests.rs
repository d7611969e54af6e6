//! Checkpoints beside a writer and beside readers.

use super::*;
use crate::{clock, receiver::journal::sqlite::reader::Reader};

/// The readers of the database in `directory`; none of them reads.
fn readers(directory: &Path) -> Readers {
    Reader::start(schema::open_for_reading(directory).unwrap()).unwrap().1
}

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
        let mut connection = schema::open(directory.path(), Bounds::LARGEST).unwrap();
        // No power cut is simulated here, and a thousand syncs take their time.
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection.execute_batch("CREATE TABLE written (id INTEGER PRIMARY KEY, body BLOB)").unwrap();
        let wal = Wal::watch(
            &mut connection,
            directory.path(),
            readers(directory.path()),
            CancellationToken::new(),
            Bounds::LARGEST,
        )
        .unwrap();
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
        let connection = schema::open(directory.path(), Bounds::LARGEST).unwrap();
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
    writing.wal.failure = Some(Failure::of(&held_by_reader(), clock::monotonic()));
    assert!(!writing.wal.is_healthy());
    writing.until(|wal| wal.is_healthy());
    assert_eq!(writing.commits, 1);
}

//! The database file: opening, locking and schema migrations.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    ballast::Ballast,
    bounds::Bounds,
    commit_size::PAGE_BYTES,
    error::{OpenError, volume_full},
    shared_memory::{SHARED_MEMORY, SharedMemory},
};

/// The schema, one step per version; `user_version` counts the applied steps. A released step never changes: a change
/// is another step.
pub(super) const MIGRATIONS: [&str; 8] = [V1, V2, V3, V4, V5, V6, V7, V8];

/// Instead of one row per event and sink, each sink has a position: an append then writes only `events` and
/// `identities`, however many sinks there are, and in-order delivery updates one number per sink and batch.
///
/// `identities` outlive `events`; both are numbered in the order of arrival, so that the oldest are found without an
/// index on time. Signed content is indexed by the second of the signature: content that arrives together is adjacent
/// there. The digest of a delivery has no such locality, so `deliveries` is an index that is written in flushes;
/// `filed` holds the number up to which it is complete. A failed journal writes the `heartbeat` to find out whether it
/// has recovered.
const V1: &str = "
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    key TEXT NOT NULL,
    conflict INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE identities (
    id INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,
    body BLOB NOT NULL,
    sent_at INTEGER NOT NULL,
    signature BLOB NOT NULL,
    seen_at INTEGER NOT NULL
);
CREATE INDEX identities_by_signature ON identities (sent_at, signature);
CREATE TABLE deliveries (
    delivery INTEGER NOT NULL,
    identity INTEGER NOT NULL,
    PRIMARY KEY (delivery, identity)
) WITHOUT ROWID;
CREATE TABLE filed (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);
INSERT INTO filed VALUES (1, 0);
CREATE TABLE sinks (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE retries (
    sink TEXT NOT NULL,
    event INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (sink, event)
) WITHOUT ROWID;
CREATE INDEX retries_by_due ON retries (sink, due_at);
CREATE INDEX retries_by_event ON retries (event);
CREATE TABLE dead_letters (
    event INTEGER NOT NULL,
    sink TEXT NOT NULL,
    at INTEGER NOT NULL,
    failure TEXT NOT NULL,
    PRIMARY KEY (event, sink)
) WITHOUT ROWID;
CREATE TABLE heartbeat (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL);
INSERT INTO heartbeat VALUES (1, 0);
";

/// Identities with a part of their signature: second and body represent the rest, except for the key. The time when one
/// was seen is stored as seconds since its signature, which mostly takes one byte.
const V2: &str = "
CREATE TABLE compact (
    id INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,
    body BLOB NOT NULL,
    signature BLOB NOT NULL,
    sent_at INTEGER NOT NULL,
    delay INTEGER NOT NULL
);
INSERT INTO compact SELECT id, delivery, body, substr(signature, 1, 4), sent_at, seen_at - sent_at FROM identities;
DROP TABLE identities;
ALTER TABLE compact RENAME TO identities;
CREATE INDEX identities_by_body ON identities (sent_at, substr(body, 1, 8));
";

/// Signed content gets a write-buffered index like that of deliveries: a second with thousands of deliveries spans many
/// pages, and deliveries that arrive together are not adjacent among them.
const V3: &str = "
DROP INDEX identities_by_body;
CREATE TABLE signed (
    sent_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    identity INTEGER NOT NULL,
    PRIMARY KEY (sent_at, body, identity)
) WITHOUT ROWID;
INSERT INTO signed SELECT sent_at, substr(body, 1, 8), id FROM identities;
CREATE TABLE filed_up_to (name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO filed_up_to SELECT 'deliveries', last FROM filed;
INSERT INTO filed_up_to SELECT 'signed', coalesce(max(id), 0) FROM identities;
DROP TABLE filed;
ALTER TABLE filed_up_to RENAME TO filed;
";

/// The time of the last milestone, which must outlive its event. The migration scans the newest events only: all of
/// them in most journals, and a bounded number in the largest.
const V4: &str = "
CREATE TABLE milestones (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER);
INSERT INTO milestones SELECT 1, max(received_at)
    FROM (SELECT type, received_at FROM events ORDER BY id DESC LIMIT 10000) WHERE type = 'analytics.milestone';
";

/// The times of settlements in the journal's own time, see [`super::expire`] and [`super::clock_jumps`], and counts of
/// rows, see [`super::counts`]. From here on the heartbeat is the last time that was stored, or 0, and its
/// probe is what a failed journal writes. Everything in a journal
/// of an earlier version counts as settled when the last process was last seen to work.
const V5: &str = "
CREATE TABLE settled (at INTEGER PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE settled_late (event INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE INDEX settled_late_by_at ON settled_late (at);
CREATE TABLE clock_jumps (
    id INTEGER PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    seconds INTEGER NOT NULL
);
ALTER TABLE heartbeat ADD COLUMN in_doubt_since INTEGER;
ALTER TABLE heartbeat ADD COLUMN probe INTEGER NOT NULL DEFAULT 0;
UPDATE heartbeat SET at = max(
    coalesce((SELECT received_at FROM events ORDER BY id DESC LIMIT 1), 0),
    coalesce((SELECT max(at) / 1000 FROM dead_letters), 0));
ALTER TABLE dead_letters ADD COLUMN settled_at INTEGER NOT NULL DEFAULT 0;
UPDATE dead_letters SET settled_at = (SELECT at FROM heartbeat);
CREATE INDEX dead_letters_by_sink ON dead_letters (sink);
CREATE INDEX dead_letters_by_settlement ON dead_letters (settled_at);
CREATE TABLE counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL, last INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counts SELECT 'events', count(*), coalesce(max(id), 0) FROM events;
INSERT INTO counts SELECT 'identities', count(*), coalesce(max(id), 0) FROM identities;
";

/// The tries of an event at a sink, see [`crate::receiver::journal::tries`], and the number of events that a sink has
/// taken. A retry of an earlier version is charged for nothing yet.
const V6: &str = "
ALTER TABLE retries ADD COLUMN suspicions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE retries ADD COLUMN charged_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE retries ADD COLUMN taken INTEGER;
ALTER TABLE sinks ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;
";

/// Sinks that have left the route, see [`super::removed`]. A sink has had the events after `first`; a removed one has a
/// row until all events up to `removed_after` that it waits for are dead letters. What a sink of an earlier version has
/// had is unknown, so it counts as all.
///
/// `dropped` lists the events that were given up, and `drops` counts them; see [`super::drop_oldest`].
///
/// `redrives` are the requests to send events again, one row for each sink: all their events up to `reached` have been
/// queued; see [`super::redrive`].
const V7: &str = "
ALTER TABLE sinks ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sinks ADD COLUMN removed_after INTEGER;
ALTER TABLE sinks ADD COLUMN drop_oldest INTEGER NOT NULL DEFAULT 0;
CREATE TABLE dropped (
    number INTEGER PRIMARY KEY,
    event INTEGER NOT NULL,
    sink TEXT NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (event, sink)
);
CREATE TABLE drops (sink TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
ALTER TABLE retries ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0;
CREATE TABLE redrives (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    sink TEXT,
    target TEXT NOT NULL,
    received_from INTEGER,
    received_to INTEGER,
    per_second INTEGER NOT NULL,
    reached INTEGER NOT NULL,
    last INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    queued INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER,
    UNIQUE (id, target)
);
";

/// Removed sinks whose policy was to drop the oldest: their dead letters are given up as before; see
/// [`super::drop_oldest`].
const V8: &str = "
CREATE TABLE removed_dropping (sink TEXT PRIMARY KEY) WITHOUT ROWID;
";

/// The writer's page cache.
const CACHE_KIB: i64 = 16 * 1024;

/// The mode of the journal's files: only their owner can read the events.
const MODE: u32 = 0o600;

pub(super) const DATABASE: &str = "journal.sqlite";
pub(super) const LOG: &str = "journal.sqlite-wal";
const LOCK: &str = "journal.lock";

/// Excludes all other processes from a journal.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn acquire(directory: &Path) -> Result<Self, OpenError> {
        let file = File::options().create(true).truncate(false).write(true).mode(MODE).open(directory.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

/// Opens the database for writing; creates or migrates it as needed. On a full volume it gives up the ballast.
///
/// A failed attempt is repeated even if the volume has space now: the attempt itself may have freed it, because SQLite
/// deletes its shared memory, and the log if it can, when it closes the database.
pub(super) fn open(directory: &Path, bounds: Bounds) -> Result<Connection, OpenError> {
    match try_open(directory, bounds) {
        Err(error) if error.may_be_full() => {
            tracing::warn!(%error, "cannot open the journal, trying again without its ballast");
            Ballast::new(directory).give_up();
            try_open(directory, bounds)
        }
        result => result,
    }
}

/// Limits the length to which the log is cut when it restarts.
pub(super) fn limit_log(connection: &Connection, bounds: Bounds) -> rusqlite::Result<()> {
    let bytes = i64::try_from(bounds.log_bytes()).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "journal_size_limit", bytes, |_| Ok(()))
}

fn try_open(directory: &Path, bounds: Bounds) -> Result<Connection, OpenError> {
    SharedMemory::check_space(directory)?;
    restrict(directory)?;
    let mut connection = Connection::open(directory.join(DATABASE))?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // FULL: a commit returns only after fsync. This is what the 200 promises.
    connection.pragma_update(None, "synchronous", "FULL")?;
    limit_log(&connection, bounds)?;
    // The lock file excludes other writers; if one writes anyway, deliveries must not wait for it.
    connection.busy_timeout(Duration::ZERO)?;
    // The container's file system is read-only except for the journal's volume.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The pages of one batch stay in memory until its commit.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection)?;
    settle_log(&connection, directory)?;
    check_log(&connection)?;
    Ok(connection)
}

/// Creates the database with the right mode, which SQLite uses for its other files as well, and corrects the mode of
/// existing files. A file system without modes, or an owner other than this process, is no reason to fail.
fn restrict(directory: &Path) -> std::io::Result<()> {
    File::options().create(true).truncate(false).write(true).mode(MODE).open(directory.join(DATABASE))?;
    for file in [DATABASE, LOG, SHARED_MEMORY, LOCK] {
        let file = directory.join(file);
        let wrong = fs::metadata(&file).is_ok_and(|file| file.permissions().mode() & 0o777 != MODE);
        if wrong && let Err(error) = fs::set_permissions(&file, Permissions::from_mode(MODE)) {
            tracing::warn!(%error, file = %file.display(), "cannot restrict the mode of a journal file");
        }
    }
    Ok(())
}

/// Checks that the write-ahead log is on. After an I/O error during the switch, SQLite continues without it and reports
/// that only here; a power cut can then undo a commit, since SQLite does not sync the removal of the rollback journal.
fn check_log(connection: &Connection) -> Result<(), OpenError> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode == "wal" { Ok(()) } else { Err(OpenError::NoLog { mode }) }
}

/// Makes the write-ahead log of an earlier process durable before any answer relies on it: after a failed fsync the
/// kernel may show pages that are not on the disk. The log is checkpointed and the database synced. The end of the log
/// is synced as well: on the disk it may still have its length from before the failed sync, and a power cut would
/// replay it over the newer database. A full volume is no reason to stop here: its events can still be delivered, which
/// frees space.
fn settle_log(connection: &Connection, directory: &Path) -> Result<(), OpenError> {
    let checkpoint = || connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    let full = |error: &rusqlite::Error| volume_full(error, directory);
    let settled = match checkpoint() {
        Err(error) if full(&error) && Ballast::new(directory).give_up() => checkpoint(),
        result => result,
    };
    match settled {
        Err(error) if full(&error) => {
            tracing::warn!("journal volume full");
            return Ok(());
        }
        result => result?,
    }
    // Not the database file: closing it would release SQLite's locks on it. The log has no locks.
    match File::open(directory.join(LOG)) {
        Ok(log) => log.sync_all()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // SQLite also syncs the directory when it creates the log, but ignores a failure.
    Ok(File::open(directory)?.sync_all()?)
}

/// A second, read-only connection to an open database.
pub(super) fn open_for_reading(directory: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join(DATABASE), flags)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// A connection to an open database that only checkpoints it.
pub(super) fn open_for_checkpoints(directory: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join(DATABASE), flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(Duration::ZERO)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = version as usize;
    let steps = MIGRATIONS.get(version..).ok_or(OpenError::TooNew { version, known: MIGRATIONS.len() })?;
    if steps.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds::LARGEST;

    #[test]
    fn a_journal_is_opened_once() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::acquire(directory.path()).unwrap();
        assert!(matches!(Lock::acquire(directory.path()), Err(OpenError::Locked)));
        drop(lock);
        assert!(Lock::acquire(directory.path()).is_ok());
    }

    #[test]
    fn a_journal_of_a_later_version_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path(), BOUNDS).unwrap();
        journal.pragma_update(None, "user_version", 99).unwrap();
        drop(journal);
        assert!(matches!(open(directory.path(), BOUNDS), Err(OpenError::TooNew { version: 99, .. })));
    }

    #[test]
    fn a_journal_of_an_earlier_version_is_migrated() {
        let directory = tempfile::tempdir().unwrap();
        let old = Connection::open(directory.path().join(DATABASE)).unwrap();
        old.execute_batch(V1).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute(
            "INSERT INTO identities VALUES (7, -1, x'0102030405060708090a0b0c0d0e0f10', 1000, x'f1f2f3f4f5', 1005)",
            [],
        )
        .unwrap();
        let event = "INSERT INTO events VALUES (?1, 'd', ?2, 0, ?3, 'k1', 0, x'')";
        for (id, event_type) in
            ["link.created", "analytics.milestone", "analytics.milestone", "link.created"].iter().enumerate()
        {
            old.execute(event, rusqlite::params![id as i64, event_type, 1000 + id as i64]).unwrap();
        }
        drop(old);
        let journal = open(directory.path(), BOUNDS).unwrap();
        let kept = "SELECT delivery, hex(body || signature), sent_at, delay FROM identities WHERE id = 7";
        let kept: (i64, String, i64, i64) =
            journal.query_row(kept, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        assert_eq!(kept, (-1, "0102030405060708090A0B0C0D0E0F10F1F2F3F4".to_owned(), 1000, 5));
        let milestone: i64 = journal.query_row("SELECT last FROM milestones", [], |row| row.get(0)).unwrap();
        assert_eq!(milestone, 1002);
    }

    #[test]
    fn a_database_without_a_write_ahead_log_is_rejected() {
        let without = Connection::open_in_memory().unwrap();
        assert!(matches!(check_log(&without), Err(OpenError::NoLog { .. })));
    }

    #[test]
    fn only_the_owner_can_read_a_journal_new_or_old() {
        let directory = tempfile::tempdir().unwrap();
        let modes = || -> Vec<u32> {
            let files = fs::read_dir(directory.path()).unwrap();
            files.map(|file| file.unwrap().metadata().unwrap().permissions().mode() & 0o777).collect()
        };
        let _lock = Lock::acquire(directory.path()).unwrap();
        let journal = open(directory.path(), BOUNDS).unwrap();
        journal.execute("UPDATE heartbeat SET at = 1", []).unwrap();
        assert_eq!(modes(), [MODE; 4], "database, log, shared memory and lock");
        drop(journal);
        fs::set_permissions(directory.path().join(DATABASE), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(directory.path().join(LOCK), Permissions::from_mode(0o644)).unwrap();
        let journal = open(directory.path(), BOUNDS).unwrap();
        journal.execute("UPDATE heartbeat SET at = 2", []).unwrap();
        assert_eq!(modes(), [MODE; 4]);
    }

    #[test]
    fn a_corrupt_database_is_a_permanent_failure_with_a_remedy() {
        for (offset, bytes) in [(0, &b"not a database at all"[..]), (100, &[0xff; 4096][..])] {
            let directory = tempfile::tempdir().unwrap();
            drop(open(directory.path(), BOUNDS).unwrap());
            let file = File::options().write(true).open(directory.path().join(DATABASE)).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, offset).unwrap();
            let error = open(directory.path(), BOUNDS).unwrap_err();
            assert!(matches!(error, OpenError::Corrupt { .. }) && error.is_final(), "{error:?}");
            assert!(error.to_string().contains("delete"), "{error}");
        }
    }

    #[test]
    fn a_commit_syncs() {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path(), BOUNDS).unwrap();
        let mode: String = journal.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let synchronous: u8 = journal.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }
}

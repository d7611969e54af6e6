//! P6: the time until a receiver with a large journal is ready.

use std::path::Path;

use anyhow::Result;
use rusqlite::Connection;

use crate::{Arguments, say, subject, support::benchmark_report::Row};

const EVENTS: u32 = 1_000_000;
const IDENTITIES: u32 = 10_000_000;
/// The number of restarts; the slowest counts.
const RESTARTS: usize = 3;

/// Starts a receiver with a journal of a million delivered events and ten million identities.
pub(crate) fn restart(arguments: &Arguments, rows: &mut Vec<Row>) -> Result<()> {
    let scale = if arguments.quick { 1_000 } else { 1 };
    let directory = arguments.workplace()?;
    // The receiver creates its tables.
    drop(subject::receiver(directory.path(), &[])?);
    say(&format!("filling a journal: {} events, {} identities …", EVENTS / scale, IDENTITIES / scale));
    fill(&directory.path().join("journal/journal.sqlite"), EVENTS / scale, IDENTITIES / scale)?;
    let (mut slowest, mut resident) = (0.0_f64, 0.0_f64);
    for _ in 0..RESTARTS {
        let server = subject::receiver(directory.path(), &[])?;
        slowest = slowest.max(server.started_in.as_secs_f64());
        resident = resident.max(server.peak()?);
    }
    let what = format!("ready after a restart with {} events and {} identities", EVENTS / scale, IDENTITIES / scale);
    rows.push(Row::at_most("P6", what, slowest, 1.0, "s"));
    rows.push(Row::at_most("P6", "memory then", resident, 80.0, "MiB"));
    Ok(())
}

/// Generates rows like the journal's within the database, in the order of the indexes.
fn fill(database: &Path, events: u32, identities: u32) -> Result<()> {
    Connection::open(database)?.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         BEGIN;
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {events})
         INSERT INTO events SELECT n, 'dlv_' || n, 'link.created', unixepoch() - 600, unixepoch() - 600, 'k1', 0,
             zeroblob(1024) FROM numbers;
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {identities})
         INSERT INTO identities
             SELECT n, random(), randomblob(16), randomblob(4), unixepoch() - 600000 + n / 20, 1 FROM numbers;
         INSERT INTO deliveries SELECT delivery, id FROM identities ORDER BY 1, 2;
         INSERT INTO signed SELECT sent_at, substr(body, 1, 8), id FROM identities ORDER BY 1, 2, 3;
         UPDATE filed SET last = {identities};
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))?;
    Ok(())
}

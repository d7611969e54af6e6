//! The length of the write-ahead log after a pass.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use rusqlite::Connection;

use crate::{
    clock,
    receiver::journal::{
        Settings,
        sqlite::{bounds::Bounds, budget::Budget, expire::Expiry, identities, schema},
    },
};

const ROWS: i64 = 20_000;

/// Rows of which neighbours by id are far apart in every index. The bodies are `body_bytes` long.
fn fill(connection: &Connection, body_bytes: usize) {
    let scattered = |n: i64| (n * 7_919) % ROWS;
    let sql = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(sql).unwrap().execute(parameters).unwrap();
    };
    connection.execute_batch("BEGIN; INSERT INTO settled VALUES (1000, 20000)").unwrap();
    for n in 1..=ROWS / 10 {
        let body = vec![0; body_bytes];
        sql("INSERT INTO events VALUES (?1, 'd', 'link.created', 0, 0, 'k1', 0, ?2)", &[&(n * 2), &body]);
        sql("INSERT INTO settled_late VALUES (?1, ?2)", &[&(n * 2), &scattered(n)]);
        for sink in 0..16 {
            let at = scattered(n * 16 + sink);
            let name = format!("sink{sink}");
            sql("INSERT INTO dead_letters VALUES (?1, ?2, 0, '503', ?3)", &[&(n * 2), &name, &at]);
        }
    }
    for n in 1..=ROWS {
        let digest = format!("{:08}{n:08}", scattered(n)).into_bytes();
        sql(
            "INSERT INTO identities VALUES (?1, ?2, ?3, x'01020304', ?4, 0)",
            &[&n, &scattered(n), &digest, &scattered(n)],
        );
        sql("INSERT INTO deliveries VALUES (?1, ?2)", &[&scattered(n), &n]);
        sql("INSERT INTO signed VALUES (?1, ?2, ?3)", &[&scattered(n), &&digest[..8], &n]);
    }
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

#[test]
fn the_worst_pass_writes_no_more_pages_than_there_is_room_for() {
    for body_bytes in [100, 7_000, 40_000] {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = schema::open(directory.path(), Bounds::LARGEST).unwrap();
        fill(&connection, body_bytes);
        let bounds = Bounds::LARGEST;
        let room = bounds.prune_pages() - bounds.evict_pages();
        let pages = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(u32::try_from(pages).unwrap(), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).unwrap();
        let mut expiry = Expiry::load(&connection).unwrap();
        let settings = Settings {
            sinks: Vec::new(),
            drop_oldest: Vec::new(),
            deduplication_window_seconds: 0,
            retention_seconds: 0,
            dead_letter_retention_seconds: 0,
            capacity_bytes: u64::MAX,
        };
        for share in 0..2 {
            let transaction = connection.transaction().unwrap();
            let mut budget = Budget::of_pages(room);
            let now = clock::now().as_second();
            // Each kind of row alone may use the whole budget.
            match share {
                0 => drop(expiry.expire(&transaction, &settings, now, clock::monotonic(), &mut budget).unwrap()),
                _ => drop(identities::forget(&transaction, now, 500, &mut budget).unwrap()),
            }
            transaction.commit().unwrap();
            let written = pages.load(Ordering::Relaxed);
            assert!((20..=room).contains(&written), "{written} pages of {room}, step {share}, {body_bytes}");
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        }
    }
}

//! SQLite, write-ahead log, `synchronous=FULL`: two layouts of the same rows.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use rusqlite::{Connection, params};

use crate::{Candidate, Record};

/// The layout of the identities.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// Full digests, in two indexes in random order.
    Digests,
    /// Eight bytes of the delivery's digest, and the signature prefixed with its second.
    Prefixes,
    /// As [`Layout::Prefixes`], with deliveries in a separate index, inserted in sorted batches.
    Filed,
}

pub(crate) struct Sqlite {
    connection: Connection,
    layout: Layout,
    last: i64,
    unfiled: BTreeMap<i64, i64>,
}

const FILED_AT_ONCE: usize = 4096;
const BY_SIGNATURE: &str =
    "SELECT EXISTS (SELECT 1 FROM identities WHERE sent_at = ?1 AND signature = ?2 AND seen_at >= ?3)";

impl Sqlite {
    pub(crate) fn open(directory: &Path, layout: Layout, page: u32) -> Result<Self> {
        let connection = Connection::open(directory.join("journal.sqlite"))?;
        connection.pragma_update(None, "page_size", page)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -16 * 1024)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS events (
                id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, sent_at INTEGER NOT NULL,
                received_at INTEGER NOT NULL, key TEXT NOT NULL, conflict INTEGER NOT NULL, body BLOB NOT NULL);",
        )?;
        connection.execute_batch(match layout {
            Layout::Digests => {
                "CREATE TABLE IF NOT EXISTS identities (id INTEGER PRIMARY KEY, delivery BLOB NOT NULL,
                    body BLOB NOT NULL, signature BLOB NOT NULL, seen_at INTEGER NOT NULL);
                 CREATE INDEX IF NOT EXISTS by_delivery ON identities (delivery);
                 CREATE INDEX IF NOT EXISTS by_signature ON identities (signature);"
            }
            Layout::Filed => {
                "CREATE TABLE IF NOT EXISTS identities (id INTEGER PRIMARY KEY, delivery INTEGER NOT NULL,
                    body BLOB NOT NULL, sent_at INTEGER NOT NULL, signature INTEGER NOT NULL, seen_at INTEGER NOT NULL);
                 CREATE INDEX IF NOT EXISTS by_signature ON identities (sent_at, signature);
                 CREATE TABLE IF NOT EXISTS deliveries (delivery INTEGER NOT NULL, identity INTEGER NOT NULL,
                    PRIMARY KEY (delivery, identity)) WITHOUT ROWID;"
            }
            Layout::Prefixes => {
                "CREATE TABLE IF NOT EXISTS identities (id INTEGER PRIMARY KEY, delivery INTEGER NOT NULL,
                    body BLOB NOT NULL, sent_at INTEGER NOT NULL, signature INTEGER NOT NULL, seen_at INTEGER NOT NULL);
                 CREATE INDEX IF NOT EXISTS by_delivery ON identities (delivery);
                 CREATE INDEX IF NOT EXISTS by_signature ON identities (sent_at, signature);"
            }
        })?;
        let last = connection.query_row("SELECT coalesce(max(id), 0) FROM events", [], |row| row.get(0))?;
        let mut unfiled = BTreeMap::new();
        if let Layout::Filed = layout {
            let mut statement = connection.prepare(
                "SELECT delivery, id FROM identities WHERE id > (SELECT coalesce(max(id), 0) / ?1 * ?1 FROM identities)")?;
            let rows = statement.query_map([FILED_AT_ONCE as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
            unfiled = rows.collect::<Result<_, _>>()?;
        }
        Ok(Sqlite { connection, layout, last, unfiled })
    }
}

fn word(digest: &[u8; 16]) -> i64 {
    i64::from_le_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]])
}

impl Candidate for Sqlite {
    fn commit(&mut self, batch: &[Record]) -> Result<usize> {
        let transaction = self.connection.transaction()?;
        let mut stored = 0;
        for record in batch {
            let Record { delivery, body_digest, signature, sent_at, body } = record;
            let seen: bool = match self.layout {
                Layout::Digests => {
                    transaction
                        .prepare_cached(
                            "SELECT EXISTS (SELECT 1 FROM identities WHERE signature = ?1 AND seen_at >= ?2)",
                        )?
                        .query_row(params![signature, 0], |row| row.get::<_, bool>(0))?
                        || transaction
                            .prepare_cached(
                                "SELECT EXISTS (SELECT 1 FROM identities WHERE delivery = ?1 AND seen_at >= ?2)",
                            )?
                            .query_row(params![delivery, 0], |row| row.get(0))?
                }
                Layout::Filed => {
                    transaction
                        .prepare_cached(BY_SIGNATURE)?
                        .query_row(params![sent_at, word(signature), 0], |row| row.get::<_, bool>(0))?
                        || self.unfiled.contains_key(&word(delivery))
                        || transaction
                            .prepare_cached("SELECT EXISTS (SELECT 1 FROM deliveries WHERE delivery = ?1)")?
                            .query_row([word(delivery)], |row| row.get(0))?
                }
                Layout::Prefixes => {
                    transaction
                        .prepare_cached(BY_SIGNATURE)?
                        .query_row(params![sent_at, word(signature), 0], |row| row.get::<_, bool>(0))?
                        || transaction
                            .prepare_cached(
                                "SELECT EXISTS (SELECT 1 FROM identities WHERE delivery = ?1 AND seen_at >= ?2)",
                            )?
                            .query_row(params![word(delivery), 0], |row| row.get(0))?
                }
            };
            if seen {
                continue;
            }
            self.last += 1;
            stored += 1;
            transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(
                params![self.last, format!("dlv_{}", self.last), "link.created", sent_at, sent_at, "k1", false, body],
            )?;
            match self.layout {
                Layout::Digests => transaction
                    .prepare_cached("INSERT INTO identities (delivery, body, signature, seen_at) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![delivery, body_digest, signature, sent_at])?,
                Layout::Prefixes | Layout::Filed => transaction
                    .prepare_cached(
                        "INSERT INTO identities (delivery, body, sent_at, signature, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![word(delivery), body_digest, sent_at, word(signature), sent_at])?,
            };
            self.unfiled.insert(word(delivery), self.last);
        }
        if self.unfiled.len() >= FILED_AT_ONCE {
            if let Layout::Filed = self.layout {
                let mut file = transaction.prepare_cached("INSERT INTO deliveries VALUES (?1, ?2)")?;
                for (delivery, number) in &self.unfiled {
                    file.execute([delivery, number])?;
                }
            }
            self.unfiled.clear();
        }
        transaction.commit()?;
        Ok(stored)
    }

    fn events(&mut self) -> Result<usize> {
        Ok(self.connection.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0))? as usize)
    }
}

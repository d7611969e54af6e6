//! fjall 3: a log-structured merge tree.

use std::path::Path;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::{Candidate, Record};

pub(crate) struct Fjall {
    database: Database,
    events: Keyspace,
    deliveries: Keyspace,
    signatures: Keyspace,
    last: u64,
}

impl Fjall {
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let database = Database::builder(directory.join("fjall")).cache_size(16 << 20).open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(8 << 20);
        let events = database.keyspace("events", options)?;
        let deliveries = database.keyspace("deliveries", options)?;
        let signatures = database.keyspace("signatures", options)?;
        let last = match events.last_key_value() {
            Some(entry) => u64::from_be_bytes(entry.key()?[..8].try_into()?),
            None => 0,
        };
        Ok(Fjall { database, events, deliveries, signatures, last })
    }
}

impl Candidate for Fjall {
    fn commit(&mut self, batch: &[Record]) -> Result<usize> {
        let mut write = self.database.batch().durability(Some(PersistMode::SyncData));
        let before = self.last;
        for Record { delivery, body_digest, signature, sent_at, body } in batch {
            if self.signatures.contains_key(signature)? || self.deliveries.get(delivery)?.is_some() {
                continue;
            }
            self.last += 1;
            let mut event = Vec::with_capacity(body.len() + 64);
            event.extend_from_slice(&sent_at.to_be_bytes());
            event.extend_from_slice(format!("dlv_{}\0link.created\0k1\0", self.last).as_bytes());
            event.extend_from_slice(body);
            write.insert(&self.events, self.last.to_be_bytes(), event);
            let mut known = [0; 24];
            known[..16].copy_from_slice(body_digest);
            known[16..].copy_from_slice(&sent_at.to_be_bytes());
            write.insert(&self.deliveries, *delivery, known);
            write.insert(&self.signatures, *signature, sent_at.to_be_bytes());
        }
        write.commit()?;
        Ok((self.last - before) as usize)
    }

    fn events(&mut self) -> Result<usize> {
        Ok(self.events.len()?)
    }
}

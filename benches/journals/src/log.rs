//! A plain append-only log: length and checksum before each batch, identities in memory, rebuilt at the start.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::Result;

use crate::{Candidate, Digest, Record};

/// Delivery, body and signature digest, sent_at, length of the body.
const HEAD: usize = 3 * 16 + 8 + 4;

pub(crate) struct Log {
    file: File,
    deliveries: HashMap<Digest, Digest>,
    signatures: HashMap<Digest, i64>,
    events: usize,
}

impl Log {
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(directory.join("log"))?;
        let mut log = Log { file, deliveries: HashMap::new(), signatures: HashMap::new(), events: 0 };
        let mut reader = BufReader::with_capacity(1 << 20, log.file.try_clone()?);
        let (mut end, mut batch) = (0, Vec::new());
        while let Some(length) = next(&mut reader, &mut batch)? {
            end += length;
            log.index(&batch);
        }
        // Data after the last complete batch was never acknowledged.
        log.file.set_len(end)?;
        log.file.seek(SeekFrom::End(0))?;
        log.file.sync_all()?;
        Ok(log)
    }

    fn index(&mut self, mut batch: &[u8]) {
        while batch.len() >= HEAD {
            let digest = |at: usize| -> Digest { std::array::from_fn(|index| batch[at + index]) };
            let number = |at: usize, bytes: usize| {
                batch[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | i64::from(*byte))
            };
            self.deliveries.insert(digest(0), digest(16));
            self.signatures.insert(digest(32), number(48, 8));
            self.events += 1;
            batch = &batch[HEAD + number(56, 4) as usize..];
        }
    }
}

/// The next complete batch, and its length with the header.
fn next(reader: &mut impl Read, batch: &mut Vec<u8>) -> Result<Option<u64>> {
    let mut head = [0; 8];
    if reader.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let (length, checksum) = (&head[..4], &head[4..]);
    let length = u32::from_le_bytes(length.try_into()?);
    if length > 64 << 20 {
        return Ok(None);
    }
    batch.resize(length as usize, 0);
    if reader.read_exact(batch).is_err() || crc32fast::hash(batch).to_le_bytes() != *checksum {
        return Ok(None);
    }
    Ok(Some(u64::from(length) + 8))
}

impl Candidate for Log {
    fn commit(&mut self, batch: &[Record]) -> Result<usize> {
        let mut bytes = vec![0; 8];
        let before = self.events;
        for Record { delivery, body_digest, signature, sent_at, body } in batch {
            if self.signatures.contains_key(signature) || self.deliveries.contains_key(delivery) {
                continue;
            }
            for part in [delivery, body_digest, signature] {
                bytes.extend_from_slice(part);
            }
            bytes.extend_from_slice(&sent_at.to_le_bytes());
            bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
            bytes.extend_from_slice(body);
            self.deliveries.insert(*delivery, *body_digest);
            self.signatures.insert(*signature, *sent_at);
            self.events += 1;
        }
        let (length, checksum) = ((bytes.len() - 8) as u32, crc32fast::hash(&bytes[8..]));
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        Ok(self.events - before)
    }

    fn events(&mut self) -> Result<usize> {
        Ok(self.events)
    }
}

//! A write-buffered index, like a memtable. The keys of identities arrive in random order, so inserting them one by one
//! would write one page each. The newest keys are therefore found in memory; once there are many, they are flushed into
//! the index in its order, so that neighbours share a page write: one chunk per commit, so that no commit takes much
//! longer than others. Unflushed keys are read again at the start.

use std::collections::BTreeSet;

use rusqlite::{Connection, Params, Result, Row};

/// The number of pending keys that starts a flush. Fewer would write more pages per key.
const FLUSH_AT: usize = 4096;
/// How many keys a commit flushes for each that it adds: the flush ends before as many again are pending.
const FLUSH_RATIO: usize = 2;

/// The number of an identity, in the order of arrival. Unique.
pub(super) type Number = i64;

/// A key of one index. Its statements take the key's columns, then the identity's number.
pub(super) trait Key: Copy + Ord {
    /// The minimum.
    const FIRST: Self;
    /// The index's row in `filed`, which holds the number up to which all identities are flushed.
    const INDEX: &'static str;
    /// Selects the keys of identities with a number above `?1`.
    const BEYOND: &'static str;
    const INSERT: &'static str;
    const DELETE: &'static str;
    /// Selects the numbers of a key.
    const FIND: &'static str;

    fn read(row: &Row<'_>) -> Result<(Self, Number)>;
    fn columns(self) -> impl Params;
    fn with(self, number: Number) -> impl Params;
}

/// The keys that are not in the index yet.
#[derive(Debug)]
pub(super) struct PendingIndex<K> {
    entries: BTreeSet<(K, Number)>,
    flush: Option<Flush<K>>,
}

/// A flush in progress.
#[derive(Clone, Copy, Debug)]
struct Flush<K> {
    /// The last identity at its start: when it ends, all up to it are in the index.
    last: Number,
    /// All keys before this one are flushed, except those added since the start.
    reached: (K, Number),
}

/// The entries that one transaction flushes, to apply once it is committed.
#[derive(Debug)]
pub(super) struct Chunk<K> {
    entries: Vec<(K, Number)>,
    flush: Option<Flush<K>>,
}

impl<K: Key> PendingIndex<K> {
    /// Loads the keys that an earlier process did not flush. Some may be flushed already, if it stopped during a flush.
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let mut statement = connection.prepare(K::BEYOND)?;
        let entries = statement.query_map([flushed(connection, K::INDEX)?], K::read)?;
        Ok(PendingIndex { entries: entries.collect::<Result<_>>()?, flush: None })
    }

    pub(super) fn insert(&mut self, key: K, number: Number) {
        self.entries.insert((key, number));
    }

    /// The pending numbers of a key.
    pub(super) fn numbers(&self, key: K) -> impl Iterator<Item = Number> {
        self.entries.range((key, Number::MIN)..=(key, Number::MAX)).map(|(_, number)| *number)
    }

    /// Flushes a chunk, if many keys are pending, inside the caller's transaction, which adds at most `adding` keys.
    /// `last` is the last identity.
    pub(super) fn flush(&self, connection: &Connection, adding: usize, last: Number) -> Result<Chunk<K>> {
        let begun = || (self.entries.len() >= FLUSH_AT).then_some(Flush { last, reached: (K::FIRST, Number::MIN) });
        let Some(mut flush) = self.flush.or_else(begun) else { return Ok(Chunk { entries: Vec::new(), flush: None }) };
        let chunk = FLUSH_RATIO * adding;
        let entries: Vec<_> = self.entries.range(flush.reached..).take(chunk).copied().collect();
        let mut insert = connection.prepare_cached(K::INSERT)?;
        for (key, number) in &entries {
            insert.execute(key.with(*number))?;
        }
        if entries.len() < chunk {
            let mut ended = connection.prepare_cached("UPDATE filed SET last = ?2 WHERE name = ?1")?;
            ended.execute((K::INDEX, flush.last))?;
            return Ok(Chunk { entries, flush: None });
        }
        flush.reached = entries.last().copied().unwrap_or(flush.reached);
        Ok(Chunk { entries, flush: Some(flush) })
    }

    /// Records in memory that the transaction which wrote this chunk has committed: its entries are now in the table.
    pub(super) fn apply(&mut self, Chunk { entries, flush }: Chunk<K>) {
        for entry in entries {
            self.entries.remove(&entry);
        }
        self.flush = flush;
    }

    pub(super) fn forget(&mut self, key: K, number: Number) {
        self.entries.remove(&(key, number));
    }
}

/// The number up to which all identities are in an index.
pub(super) fn flushed(connection: &Connection, index: &str) -> Result<Number> {
    connection.query_row("SELECT last FROM filed WHERE name = ?1", [index], |row| row.get(0))
}

/// The numbers of a key in the index.
pub(super) fn find<K: Key>(connection: &Connection, key: K) -> Result<Vec<Number>> {
    let mut statement = connection.prepare_cached(K::FIND)?;
    statement.query_map(key.columns(), |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests;

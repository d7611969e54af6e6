//! An index that is filled in sweeps. What identities are found by has no order, or all that comes in one second comes in
//! none: put into an index one by one, each would write a page of its own. So the newest are found in memory, and when
//! they are many, they are filed into the index in its order, so that those which land on one page are mostly written at
//! once: a piece with each commit, so that no commit takes much longer than others. What was not filed yet is read again
//! at the start.

use std::collections::BTreeSet;

use rusqlite::{Connection, Params, Result, Row};

/// From so many on a flush begins. Fewer would be more pages to write for each of them.
const FLUSH_AT: usize = 4096;
/// How many are filed with one commit, for each that it adds: the flush ends before there are as many again.
const FLUSH_RATIO: usize = 2;

/// The number of an identity, in the order of arrival. None is given twice.
pub(super) type Number = i64;

/// What identities are found by in one index. Its statements take the key's columns, then the identity's number.
pub(super) trait Key: Copy + Ord {
    /// No other comes before it.
    const FIRST: Self;
    /// The index's row in `filed`, which says up to which number all identities are in it.
    const INDEX: &'static str;
    /// Selects the entries of identities beyond a number, `?1`.
    const BEYOND: &'static str;
    const INSERT: &'static str;
    const DELETE: &'static str;
    /// Selects the numbers behind a key.
    const FIND: &'static str;

    fn read(row: &Row<'_>) -> Result<(Self, Number)>;
    fn columns(self) -> impl Params;
    fn with(self, number: Number) -> impl Params;
}

/// The identities that are not in the index yet.
#[derive(Debug)]
pub(super) struct PendingIndex<K> {
    entries: BTreeSet<(K, Number)>,
    flush: Option<Flush<K>>,
}

/// A flush that has begun.
#[derive(Clone, Copy, Debug)]
struct Flush<K> {
    /// The last identity there was when it began: all up to it are filed when it ends.
    last: Number,
    /// What comes before this in the index is filed, but for what came since.
    reached: (K, Number),
}

/// What one commit files, once it is committed.
#[derive(Debug)]
pub(super) struct Chunk<K> {
    entries: Vec<(K, Number)>,
    flush: Option<Flush<K>>,
}

impl<K: Key> PendingIndex<K> {
    /// Reads those that an earlier process left. Some may be filed already, if it ended in the middle of a flush.
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let mut statement = connection.prepare(K::BEYOND)?;
        let entries = statement.query_map([flushed(connection, K::INDEX)?], K::read)?;
        Ok(PendingIndex { entries: entries.collect::<Result<_>>()?, flush: None })
    }

    pub(super) fn insert(&mut self, key: K, number: Number) {
        self.entries.insert((key, number));
    }

    /// The numbers behind a key, but for those in the index.
    pub(super) fn numbers(&self, key: K) -> impl Iterator<Item = Number> {
        self.entries.range((key, Number::MIN)..=(key, Number::MAX)).map(|(_, number)| *number)
    }

    /// Files a piece, if there are many, inside the caller's transaction, which is about to add `adding` at most.
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

    /// Takes note of what a commit has filed.
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

/// Up to which number all identities are in an index.
pub(super) fn flushed(connection: &Connection, index: &str) -> Result<Number> {
    connection.query_row("SELECT last FROM filed WHERE name = ?1", [index], |row| row.get(0))
}

/// The numbers behind a key that are in the index.
pub(super) fn find<K: Key>(connection: &Connection, key: K) -> Result<Vec<Number>> {
    let mut statement = connection.prepare_cached(K::FIND)?;
    statement.query_map(key.columns(), |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests;

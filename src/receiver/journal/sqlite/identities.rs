//! Identities for deduplication, indexed by delivery and by signed content.

use rusqlite::{Connection, OptionalExtension, Params, Result, Row, params};

use super::{
    budget::Budget,
    counts,
    pending_index::{self, Chunk, Key, Number, PendingIndex},
};
use crate::receiver::ingest::event::{Event, HalfDigest, Identity};

/// Half of a delivery's digest, for a smaller index. If two deliveries share it, which takes billions of them, their
/// bodies still differ, and both are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Delivery(pub(super) i64);

/// The second in which a body was signed, and half of its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Signed(i64, [u8; 8]);

impl Delivery {
    fn of(identity: &Identity) -> Self {
        Delivery(i64::from_be_bytes(half(&identity.delivery)))
    }
}

impl Signed {
    fn of(sent_at: i64, body: &HalfDigest) -> Self {
        Signed(sent_at, half(body))
    }
}

fn half([a, b, c, d, e, f, g, h, ..]: &HalfDigest) -> [u8; 8] {
    [*a, *b, *c, *d, *e, *f, *g, *h]
}

impl Key for Delivery {
    const FIRST: Self = Delivery(i64::MIN);
    const INDEX: &'static str = "deliveries";
    const BEYOND: &'static str = "SELECT delivery, id FROM identities WHERE id > ?1";
    const INSERT: &'static str = "INSERT OR IGNORE INTO deliveries VALUES (?1, ?2)";
    const DELETE: &'static str = "DELETE FROM deliveries WHERE delivery = ?1 AND identity = ?2";
    const FIND: &'static str = "SELECT identity FROM deliveries WHERE delivery = ?1";

    fn read(row: &Row<'_>) -> Result<(Self, Number)> {
        Ok((Delivery(row.get(0)?), row.get(1)?))
    }

    fn columns(self) -> impl Params {
        [self.0]
    }

    fn with(self, number: Number) -> impl Params {
        [self.0, number]
    }
}

impl Key for Signed {
    const FIRST: Self = Signed(i64::MIN, [0; 8]);
    const INDEX: &'static str = "signed";
    const BEYOND: &'static str = "SELECT sent_at, substr(body, 1, 8), id FROM identities WHERE id > ?1";
    const INSERT: &'static str = "INSERT OR IGNORE INTO signed VALUES (?1, ?2, ?3)";
    const DELETE: &'static str = "DELETE FROM signed WHERE sent_at = ?1 AND body = ?2 AND identity = ?3";
    const FIND: &'static str = "SELECT identity FROM signed WHERE sent_at = ?1 AND body = ?2";

    fn read(row: &Row<'_>) -> Result<(Self, Number)> {
        Ok((Signed(row.get(0)?, row.get(1)?), row.get(2)?))
    }

    fn columns(self) -> impl Params {
        (self.0, self.1)
    }

    fn with(self, number: Number) -> impl Params {
        (self.0, self.1, number)
    }
}

/// The keys of an identity in both indexes.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexKeys {
    number: Number,
    delivery: Delivery,
    signed: Signed,
}

/// The identities that are not in the indexes yet.
#[derive(Debug)]
pub(super) struct PendingIdentities {
    deliveries: PendingIndex<Delivery>,
    signed: PendingIndex<Signed>,
}

/// The chunks of pending index entries that one transaction writes to their tables. Once it has committed, they are
/// removed from memory.
#[derive(Debug)]
pub(super) struct FlushedChunks {
    deliveries: Chunk<Delivery>,
    signed: Chunk<Signed>,
}

impl PendingIdentities {
    /// Loads the identities that an earlier process did not flush.
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        Ok(PendingIdentities { deliveries: PendingIndex::load(connection)?, signed: PendingIndex::load(connection)? })
    }

    /// Flushes a chunk of both, see [`PendingIndex::flush`].
    pub(super) fn flush(&self, connection: &Connection, adding: usize, last: Number) -> Result<FlushedChunks> {
        Ok(FlushedChunks {
            deliveries: self.deliveries.flush(connection, adding, last)?,
            signed: self.signed.flush(connection, adding, last)?,
        })
    }

    /// Applies a committed transaction: removes what it flushed and adds its new identities.
    pub(super) fn apply(&mut self, FlushedChunks { deliveries, signed }: FlushedChunks, added: &[IndexKeys]) {
        self.deliveries.apply(deliveries);
        self.signed.apply(signed);
        for IndexKeys { number, delivery, signed } in added {
            self.deliveries.insert(*delivery, *number);
            self.signed.insert(*signed, *number);
        }
    }

    /// Removes expired identities.
    pub(super) fn forget(&mut self, forgotten: &[IndexKeys]) {
        for IndexKeys { number, delivery, signed } in forgotten {
            self.deliveries.forget(*delivery, *number);
            self.signed.forget(*signed, *number);
        }
    }
}

/// The match of an identity in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    None,
    /// The same delivery, or another with the same signature: signed in the same second, with the same key, over the
    /// same body. It is the same request, whatever its delivery id.
    Same,
    /// The same delivery with another signature: a retry that was signed again.
    Resigned,
    /// The same delivery id with another body.
    OtherBody,
}

/// Looks up the identity of `event` among those seen at `since` or later (seconds since the epoch): in the indexes, in
/// the `pending` ones, and in the `added` ones of the same transaction.
pub(super) fn find_match(
    connection: &Connection,
    event: &Event,
    since: i64,
    pending: &PendingIdentities,
    added: &[IndexKeys],
) -> Result<Match> {
    let Event { sent_at, identity, .. } = event;
    let key = Signed::of(*sent_at, &identity.body);
    let now = added.iter().filter(|keys| keys.signed == key).map(|keys| keys.number);
    let numbers = pending_index::find(connection, key)?;
    for number in numbers.into_iter().chain(pending.signed.numbers(key)).chain(now) {
        let mut statement = connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM identities
             WHERE id = ?1 AND body = ?2 AND signature = ?3 AND sent_at + delay >= ?4)",
        )?;
        if statement.query_row(params![number, identity.body, identity.signature, since], |row| row.get(0))? {
            return Ok(Match::Same);
        }
    }
    let key = Delivery::of(identity);
    let now = added.iter().filter(|keys| keys.delivery == key).map(|keys| keys.number);
    let numbers = pending_index::find(connection, key)?;
    let mut found = Match::None;
    for number in numbers.into_iter().chain(pending.deliveries.numbers(key)).chain(now) {
        let mut statement =
            connection.prepare_cached("SELECT body FROM identities WHERE id = ?1 AND sent_at + delay >= ?2")?;
        let body: Option<HalfDigest> = statement.query_row([number, since], |row| row.get(0)).optional()?;
        match body {
            Some(body) if body == identity.body => return Ok(Match::Resigned),
            Some(_) => found = Match::OtherBody,
            None => {}
        }
    }
    Ok(found)
}

/// Stores the identity of `event` under a new number.
pub(super) fn remember(connection: &Connection, number: Number, event: &Event) -> Result<IndexKeys> {
    let Event { sent_at, received_at, identity, .. } = event;
    let (delivery, signed) = (Delivery::of(identity), Signed::of(*sent_at, &identity.body));
    connection.prepare_cached("INSERT INTO identities VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        number,
        delivery.0,
        identity.body,
        identity.signature,
        sent_at,
        received_at.saturating_sub(*sent_at)
    ])?;
    Ok(IndexKeys { number, delivery, signed })
}

/// The deduplication window while the journal is full and has no delivered event to evict: the shortest that the API
/// admits. Otherwise the identities alone could fill a small volume, and all deliveries would be rejected for a week.
pub(super) const SHORTEST_WINDOW_SECONDS: u64 = 7200;

/// Deletes the oldest identities seen before `before` (seconds since the epoch), at most `limit`, until the budget is
/// spent. Returns them, and whether there may be more.
pub(super) fn forget(
    connection: &Connection,
    before: i64,
    limit: usize,
    budget: &mut Budget,
) -> Result<(Vec<IndexKeys>, bool)> {
    let old = "SELECT id, delivery, sent_at, substr(body, 1, 8) FROM (SELECT * FROM identities ORDER BY id LIMIT ?2)
        WHERE sent_at + delay < ?1";
    let mut statement = connection.prepare_cached(old)?;
    let old = statement.query_map(params![before, limit as i64], |row| {
        Ok(IndexKeys { number: row.get(0)?, delivery: Delivery(row.get(1)?), signed: Signed(row.get(2)?, row.get(3)?) })
    })?;
    let mut old = old.collect::<Result<Vec<_>>>()?;
    let last: Number =
        connection.prepare_cached("SELECT coalesce(max(id), 0) FROM identities")?.query_row([], |row| row.get(0))?;
    let mut deliveries = connection.prepare_cached(Delivery::DELETE)?;
    let mut signatures = connection.prepare_cached(Signed::DELETE)?;
    let mut identities = connection.prepare_cached("DELETE FROM identities WHERE id = ?1")?;
    let mut deleted = 0;
    for IndexKeys { number, delivery, signed } in &old {
        if !budget.admits(IDENTITY_PAGES) {
            break;
        }
        deliveries.execute(delivery.with(*number))?;
        signatures.execute(signed.with(*number))?;
        identities.execute([number])?;
        budget.spend_pages(IDENTITY_PAGES);
        deleted += 1;
    }
    counts::deleted(connection, "identities", deleted, last)?;
    let more = old.len() == limit || deleted < old.len();
    old.truncate(deleted);
    Ok((old, more))
}

/// The pages that the deletion of an identity writes at most: those in both indexes. The identities themselves are
/// deleted in order.
const IDENTITY_PAGES: u64 = 2;

/// The highest number of an identity.
pub(super) fn last_number(connection: &Connection) -> Result<Number> {
    let last = "SELECT max(coalesce((SELECT max(id) FROM identities), 0), (SELECT max(last) FROM filed),
        (SELECT last FROM counts WHERE name = 'identities'))";
    connection.query_row(last, [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::journal::sqlite::schema;

    #[test]
    fn numbers_stay_unique_after_all_identities_have_expired() {
        let connection = Connection::open_in_memory().unwrap();
        schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
        connection.execute("UPDATE filed SET last = 4096 WHERE name = 'signed'", []).unwrap();
        assert_eq!(last_number(&connection).unwrap(), 4096);
    }
}

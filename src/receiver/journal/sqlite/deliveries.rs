//! Finds identities by their delivery. An index on digests has no order: put into it one by one, each would write a page
//! of its own. So the newest are found in memory, and filed into the index many at a time and in its order: what lands
//! on one page is written once. What was not filed yet is read again at the start.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result};

use crate::receiver::event::Identity;

/// How many wait to be filed. Fewer would write more; more would make the one commit that files them take longer.
const FILED_AT_ONCE: usize = 4096;

/// The number of an identity, in the order of arrival. None is given twice.
pub(super) type IdentityNumber = i64;

/// Half of a delivery's digest, for a smaller index. Should two deliveries share it, which takes billions of them, their
/// bodies still differ, and both are kept.
pub(super) fn key(identity: &Identity) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = identity.delivery;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The identities that are not in the index yet.
#[derive(Debug, Default)]
pub(super) struct Unfiled(BTreeSet<(i64, IdentityNumber)>);

impl Unfiled {
    /// Reads those that an earlier process left.
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let mut statement =
            connection.prepare("SELECT delivery, id FROM identities WHERE id > (SELECT last FROM filed)")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Unfiled(rows.collect::<Result<_>>()?))
    }

    pub(super) fn insert(&mut self, delivery: i64, number: IdentityNumber) {
        self.0.insert((delivery, number));
    }

    /// Takes over what `newer` has.
    pub(super) fn append(&mut self, mut newer: Unfiled) {
        self.0.append(&mut newer.0);
    }

    /// Those of `delivery`.
    pub(super) fn numbers(&self, delivery: i64) -> impl Iterator<Item = IdentityNumber> {
        self.0.range((delivery, i64::MIN)..=(delivery, i64::MAX)).map(|(_, number)| *number)
    }

    /// Files all of them, if they are enough, inside the caller's transaction. Returns whether they are filed; the
    /// caller drops them once that is committed.
    pub(super) fn file(&self, connection: &Connection) -> Result<bool> {
        if self.0.len() < FILED_AT_ONCE {
            return Ok(false);
        }
        let file = "INSERT INTO deliveries SELECT delivery, id FROM identities
            WHERE id > (SELECT last FROM filed) ORDER BY delivery, id";
        connection.prepare_cached(file)?.execute([])?;
        connection.prepare_cached("UPDATE filed SET last = (SELECT max(id) FROM identities)")?.execute([])?;
        Ok(true)
    }
}

/// Those of `delivery` that are in the index.
pub(super) fn filed(connection: &Connection, delivery: i64) -> Result<Vec<IdentityNumber>> {
    let mut statement = connection.prepare_cached("SELECT identity FROM deliveries WHERE delivery = ?1")?;
    statement.query_map([delivery], |row| row.get(0))?.collect()
}

/// The highest number given to an identity.
pub(super) fn last_number(connection: &Connection) -> Result<IdentityNumber> {
    let last = "SELECT max(coalesce((SELECT max(id) FROM identities), 0), (SELECT last FROM filed))";
    connection.query_row(last, [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of this module, and identities 1 to `last` with `delivery` as their key.
    fn tables(last: i64, delivery: impl Fn(i64) -> i64) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        super::super::schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
        for id in 1..=last {
            let insert = "INSERT INTO identities VALUES (?1, ?2, x'', x'', 0, 0)";
            connection.execute(insert, [id, delivery(id)]).unwrap();
        }
        connection
    }

    #[test]
    fn identities_are_found_before_and_after_they_are_filed() {
        let connection = tables(FILED_AT_ONCE as i64, |id| id % 1000);
        let unfiled = Unfiled::load(&connection).unwrap();
        let found: Vec<_> = unfiled.numbers(7).collect();
        assert_eq!(found, [7, 1007, 2007, 3007, 4007]);
        assert!(filed(&connection, 7).unwrap().is_empty());
        assert!(unfiled.file(&connection).unwrap());
        assert_eq!(filed(&connection, 7).unwrap(), found);
        assert!(Unfiled::load(&connection).unwrap().0.is_empty());
    }

    #[test]
    fn a_few_are_not_worth_filing() {
        let connection = tables(FILED_AT_ONCE as i64 - 1, |id| id);
        assert!(!Unfiled::load(&connection).unwrap().file(&connection).unwrap());
        assert!(filed(&connection, 7).unwrap().is_empty());
    }

    #[test]
    fn no_number_is_given_twice_when_all_identities_are_forgotten() {
        let connection = tables(FILED_AT_ONCE as i64, |id| id);
        Unfiled::load(&connection).unwrap().file(&connection).unwrap();
        connection.execute("DELETE FROM identities", []).unwrap();
        assert_eq!(last_number(&connection).unwrap(), FILED_AT_ONCE as i64);
    }
}

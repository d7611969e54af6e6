//! Finds identities by their delivery. An index on digests has no order: put into it one by one, each would write a page
//! of its own. So the newest are found in memory, and when they are many, they are filed into the index in its order, so
//! that those which land on one page are mostly written at once: a sweep through the index, a piece with each commit,
//! so that no commit takes much longer than others. What was not filed yet is read again at the start.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result};

use crate::receiver::event::Identity;

/// From so many on a sweep begins. Fewer would be more pages to write for each of them.
const MANY: usize = 4096;
/// How many are filed with one commit, for each that it adds: the sweep ends before there are as many again.
const PIECE: usize = 2;

/// The number of an identity, in the order of arrival. None is given twice.
pub(super) type IdentityNumber = i64;

/// Half of a delivery's digest, for a smaller index. Should two deliveries share it, which takes billions of them, their
/// bodies still differ, and both are kept.
pub(super) fn key(identity: &Identity) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = identity.delivery;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// An identity where the index has it: behind its delivery.
pub(super) type Place = (i64, IdentityNumber);

/// The identities that are not in the index yet.
#[derive(Debug, Default)]
pub(super) struct Unfiled {
    places: BTreeSet<Place>,
    sweep: Option<Sweep>,
}

/// A sweep that has begun.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    /// The last identity there was when it began: all up to it are filed when it ends.
    last: IdentityNumber,
    /// What comes before this in the index is filed, but for what came since.
    reached: Place,
}

/// What one commit files, once it is committed.
#[derive(Debug, Default)]
pub(super) struct Filed {
    places: Vec<Place>,
    sweep: Option<Sweep>,
}

impl Unfiled {
    /// Reads those that an earlier process left. Some may be filed already, if it ended in the middle of a sweep.
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let mut statement =
            connection.prepare("SELECT delivery, id FROM identities WHERE id > (SELECT last FROM filed)")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Unfiled { places: rows.collect::<Result<_>>()?, sweep: None })
    }

    pub(super) fn insert(&mut self, delivery: i64, number: IdentityNumber) {
        self.places.insert((delivery, number));
    }

    /// Those of `delivery`.
    pub(super) fn numbers(&self, delivery: i64) -> impl Iterator<Item = IdentityNumber> {
        self.places.range((delivery, i64::MIN)..=(delivery, i64::MAX)).map(|(_, number)| *number)
    }

    /// Files a piece, if there are many, inside the caller's transaction, which is about to add `adding` at most.
    /// `last` is the last identity.
    pub(super) fn file(&self, connection: &Connection, adding: usize, last: IdentityNumber) -> Result<Filed> {
        let begun = || (self.places.len() >= MANY).then_some(Sweep { last, reached: (i64::MIN, i64::MIN) });
        let Some(mut sweep) = self.sweep.or_else(begun) else { return Ok(Filed::default()) };
        let piece = PIECE * adding;
        let places: Vec<Place> = self.places.range(sweep.reached..).take(piece).copied().collect();
        let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO deliveries VALUES (?1, ?2)")?;
        for place in &places {
            insert.execute(<[i64; 2]>::from(*place))?;
        }
        if places.len() < piece {
            connection.prepare_cached("UPDATE filed SET last = ?1")?.execute([sweep.last])?;
            return Ok(Filed { places, sweep: None });
        }
        if let Some(place) = places.last() {
            sweep.reached = *place;
        }
        Ok(Filed { places, sweep: Some(sweep) })
    }

    /// Takes note of what a commit has filed and of what it has added.
    pub(super) fn follow(&mut self, filed: Filed, mut added: Unfiled) {
        for place in &filed.places {
            self.places.remove(place);
        }
        self.sweep = filed.sweep;
        self.places.append(&mut added.places);
    }

    /// Takes note of identities that are forgotten.
    pub(super) fn forget(&mut self, forgotten: &[Place]) {
        for place in forgotten {
            self.places.remove(place);
        }
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

    /// Files as commits would that add one each, until a sweep ends. Returns how many commits it took.
    fn sweep(unfiled: &mut Unfiled, connection: &Connection, last: i64) -> usize {
        for commits in 1.. {
            let filed = unfiled.file(connection, 1, last).unwrap();
            let ended = filed.sweep.is_none();
            unfiled.follow(filed, Unfiled::default());
            if ended {
                return commits;
            }
        }
        unreachable!()
    }

    #[test]
    fn identities_are_found_before_and_after_they_are_filed() {
        let last = MANY as i64;
        let connection = tables(last, |id| id % 1000);
        let mut unfiled = Unfiled::load(&connection).unwrap();
        let found: Vec<_> = unfiled.numbers(7).collect();
        assert_eq!(found, [7, 1007, 2007, 3007, 4007]);
        assert!(filed(&connection, 7).unwrap().is_empty());
        assert_eq!(sweep(&mut unfiled, &connection, last), MANY / PIECE + 1);
        assert_eq!(filed(&connection, 7).unwrap(), found);
        assert_eq!(unfiled.numbers(7).count(), 0);
        assert!(Unfiled::load(&connection).unwrap().places.is_empty());
    }

    #[test]
    fn a_few_are_not_worth_filing() {
        let last = MANY as i64 - 1;
        let connection = tables(last, |id| id);
        let mut unfiled = Unfiled::load(&connection).unwrap();
        assert_eq!(sweep(&mut unfiled, &connection, last), 1);
        assert!(filed(&connection, 7).unwrap().is_empty());
    }

    #[test]
    fn what_comes_during_a_sweep_and_what_a_crash_leaves_half_filed_is_found() {
        let last = MANY as i64;
        let connection = tables(last + 2, |id| last + 3 - id);
        let everywhere = |unfiled: &Unfiled, delivery| -> BTreeSet<i64> {
            filed(&connection, delivery).unwrap().into_iter().chain(unfiled.numbers(delivery)).collect()
        };
        let mut unfiled = Unfiled::load(&connection).unwrap();
        // The last two come later: one where the sweep has been, one before it.
        let mut late = Unfiled::default();
        for id in [last + 1, last + 2] {
            let place = (last + 3 - id, id);
            assert!(unfiled.places.remove(&place));
            late.insert(place.0, place.1);
        }
        let begun = unfiled.file(&connection, 100, last).unwrap();
        unfiled.follow(begun, late);
        for id in 1..=last + 2 {
            assert_eq!(everywhere(&unfiled, last + 3 - id), [id].into());
        }
        let mut after_a_crash = Unfiled::load(&connection).unwrap();
        assert_eq!(after_a_crash.places.len(), MANY + 2, "filed or not, none is left out");
        sweep(&mut after_a_crash, &connection, last + 2);
        sweep(&mut unfiled, &connection, last);
        for id in 1..=last + 2 {
            assert_eq!(everywhere(&unfiled, last + 3 - id), [id].into());
            assert_eq!(filed(&connection, last + 3 - id).unwrap(), [id]);
        }
    }

    #[test]
    fn no_number_is_given_twice_when_all_identities_are_forgotten() {
        let last = MANY as i64;
        let connection = tables(last, |id| id);
        sweep(&mut Unfiled::load(&connection).unwrap(), &connection, last);
        connection.execute("DELETE FROM identities", []).unwrap();
        assert_eq!(last_number(&connection).unwrap(), last);
    }

    #[test]
    fn what_is_forgotten_is_not_filed() {
        let last = MANY as i64;
        let connection = tables(last + 1, |id| id);
        let mut unfiled = Unfiled::load(&connection).unwrap();
        unfiled.forget(&[(7, 7)]);
        sweep(&mut unfiled, &connection, last + 1);
        assert!(filed(&connection, 7).unwrap().is_empty());
    }
}

//! Jumps of the clock that expiry has come to believe. Times of settlement are stored in the journal's own time, which
//! counts seconds and never steps back. When a jump is believed, older times age by it, but not those stored while the
//! clock was in doubt: what was settled then is not older than the time that the journal itself has counted. No time is
//! rewritten, however many there are: instead, the limit that they are compared with is translated.

use rusqlite::{Connection, Result};

/// The maximum number of jumps. More are not believed before one of them has expired.
pub(super) const JUMPS_MAX: usize = 1024;

/// A believed jump. Times from `since` to `until` count as later by `seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jump {
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) seconds: i64,
}

/// All jumps that may still concern a stored time, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Jumps(Vec<Jump>);

impl Jump {
    /// The stored time such that exactly the times before it count as before `limit`.
    fn stored(self, limit: i64) -> i64 {
        let Jump { since, until, seconds } = self;
        if limit <= since || limit > until.saturating_add(seconds) {
            return limit;
        }
        limit.saturating_sub(seconds).max(since)
    }
}

impl Jumps {
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let mut jumps = connection.prepare("SELECT since, until, seconds FROM clock_jumps ORDER BY id")?;
        let jumps =
            jumps.query_map([], |row| Ok(Jump { since: row.get(0)?, until: row.get(1)?, seconds: row.get(2)? }))?;
        Ok(Jumps(jumps.collect::<Result<_>>()?))
    }

    pub(super) fn has_room(&self) -> bool {
        self.0.len() < JUMPS_MAX
    }

    pub(super) fn push(&mut self, jump: Jump) {
        self.0.push(jump);
    }

    /// The stored time such that exactly the times before it are before `limit`, a time as it counts now.
    pub(super) fn stored(&self, limit: i64) -> i64 {
        self.0.iter().rev().fold(limit, |limit, jump| jump.stored(limit))
    }

    /// Forgets the jumps that concern only times before `limit`, the earliest that matters.
    pub(super) fn forget(&mut self, limit: i64) {
        while let Some((first, later)) = self.0.split_first() {
            let limit = later.iter().rev().fold(limit, |limit, jump| jump.stored(limit));
            if limit <= first.until.saturating_add(first.seconds) {
                break;
            }
            self.0.remove(0);
        }
    }

    /// Stores them.
    pub(super) fn save(&self, connection: &Connection) -> Result<()> {
        connection.execute("DELETE FROM clock_jumps", [])?;
        let mut insert = connection.prepare("INSERT INTO clock_jumps (since, until, seconds) VALUES (?1, ?2, ?3)")?;
        for Jump { since, until, seconds } in &self.0 {
            insert.execute([since, until, seconds])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time that a stored time counts as.
    fn counts_as(jumps: &Jumps, stored: i64) -> i64 {
        jumps.0.iter().fold(
            stored,
            |time, jump| {
                if (jump.since..=jump.until).contains(&time) { time + jump.seconds } else { time }
            },
        )
    }

    #[test]
    fn a_limit_is_translated_as_if_all_times_had_been_rewritten() {
        let first = Jump { since: 100, until: 200, seconds: 1000 };
        let nested = Jump { since: 1150, until: 1300, seconds: 50 };
        let later = Jump { since: 2000, until: 2010, seconds: 7 };
        for jumps in [vec![], vec![first], vec![first, nested], vec![first, nested, later], vec![first, later]] {
            let jumps = Jumps(jumps);
            // Times between a jump and where it leads are never stored.
            let stored: Vec<i64> = (0..=200).chain(1200..=1300).chain(1350..=2010).chain(2017..2100).collect();
            for limit in 0..2200 {
                let before = stored.iter().filter(|stored| counts_as(&jumps, **stored) < limit).count();
                let translated = stored.iter().filter(|stored| **stored < jumps.stored(limit)).count();
                assert_eq!(translated, before, "limit {limit} of {jumps:?}");
            }
        }
    }

    #[test]
    fn a_jump_is_forgotten_once_all_its_times_have_expired() {
        let mut jumps = Jumps(vec![Jump { since: 100, until: 200, seconds: 1000 }]);
        jumps.forget(1200);
        assert_eq!(jumps.0.len(), 1);
        jumps.forget(1201);
        assert!(jumps.0.is_empty());
    }

    #[test]
    fn jumps_are_stored() {
        let connection = Connection::open_in_memory().unwrap();
        crate::receiver::journal::sqlite::schema::MIGRATIONS
            .iter()
            .for_each(|step| connection.execute_batch(step).unwrap());
        let jumps = Jumps(vec![Jump { since: 1, until: 2, seconds: 3 }, Jump { since: 4, until: 5, seconds: 6 }]);
        jumps.save(&connection).unwrap();
        jumps.save(&connection).unwrap();
        assert_eq!(Jumps::load(&connection).unwrap().0, jumps.0);
    }
}

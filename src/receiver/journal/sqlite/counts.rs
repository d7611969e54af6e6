//! Counts of rows in tables whose ids are given in order without gaps. A count is stored when rows are deleted; the rows
//! added since then are the difference of ids, so neither an insertion nor a query has to count.

use rusqlite::{Connection, Result};

/// The number of rows of a table that is listed in `counts`.
pub(super) fn count(connection: &Connection, table: &str) -> Result<u64> {
    let count = format!(
        "SELECT count + max(0, coalesce((SELECT max(id) FROM {table}), 0) - last) FROM counts WHERE name = '{table}'"
    );
    connection.prepare_cached(&count)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// The highest id of `events` now; to call before a deletion, see [`deleted`].
pub(super) fn last_event(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("SELECT coalesce(max(id), 0) FROM events")?.query_row([], |row| row.get(0))
}

/// Records that `deleted` rows of `table` were deleted, whose highest id was `last` before.
pub(super) fn deleted(connection: &Connection, table: &str, deleted: usize, last: i64) -> Result<()> {
    if deleted > 0 {
        let update = "UPDATE counts SET count = count + max(0, ?3 - last) - ?2, last = max(last, ?3) WHERE name = ?1";
        connection.prepare_cached(update)?.execute((table, deleted as i64, last))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::journal::sqlite::{append, budget::Budget, prune, schema};

    #[test]
    fn events_are_counted_without_the_deleted_ones_between() {
        let connection = Connection::open_in_memory().unwrap();
        schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
        let add = |ids: std::ops::RangeInclusive<i64>| {
            for id in ids {
                let event = "INSERT INTO events VALUES (?1, 'd', 'link.created', 0, 0, 'k1', 0, x'')";
                connection.execute(event, [id]).unwrap();
            }
        };
        let delete = |ids: &[i64]| {
            prune::delete(&connection, ids, &mut Budget::of_pages(1000), |_| Ok(true)).unwrap();
        };
        let count = || count(&connection, "events").unwrap();
        assert_eq!(count(), 0);
        add(1..=10);
        assert_eq!(count(), 10);
        delete(&[2, 3, 5, 99]);
        assert_eq!(count(), 7);
        add(11..=12);
        assert_eq!(count(), 9);
        delete(&[1, 4, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(count(), 0);
        assert_eq!(append::last_position(&connection).unwrap(), 12, "a number is not given twice");
        add(13..=13);
        assert_eq!(count(), 1);
    }
}

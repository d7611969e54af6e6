//! The room that the journal has on its volume. Pure.
//!
//! A full volume must be seen before the kernel reports it: without a free block SQLite can neither append to the
//! write-ahead log nor copy it into the database, so that nothing could be settled or deleted. New events therefore get
//! only what is left when the log has its full length, and settlements have a reserve on top.
//!
//! The database's file does not shrink. Deleted events leave free pages in it, which new events reuse, so room is
//! counted in used pages up to an end of the file that the volume can hold. That end does not move while the log and the
//! file grow, because both take from what is available; so it is measured once a second, not once a commit.

use super::{bounds::Bounds, commit_size::PAGE_BYTES};

/// Room for the file system's own blocks and the shared-memory file: this part of the volume, within limits.
const MARGIN_PART: u64 = 256;
const MARGIN_BYTES: (u64, u64) = (64 << 10, 4 << 20);
/// The reserve for settlements and expiry: pages of the tables' ends, and what one sink can write about an event that it
/// has not settled yet. That is a retry with two indexes, or a dead letter with two indexes.
const RESERVE_BYTES: u64 = 16 * PAGE_BYTES as u64;
pub(super) const SETTLEMENT_BYTES: u64 = 256;

/// A measurement of the volume, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Space {
    /// The size of the volume; `None` if it has no limit.
    pub(super) volume: Option<u64>,
    /// The bytes that this process can still allocate.
    pub(super) available: u64,
    /// The allocated bytes of the database, the log and the ballast.
    pub(super) database: u64,
    pub(super) log: u64,
    pub(super) ballast: u64,
}

/// The state of the ballast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BallastState {
    InPlace,
    /// There is no room for it. What it freed is for the log and the next checkpoint only.
    NoRoom,
    /// It cannot be made for another reason.
    Failed,
}

/// How far the database can grow, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// With new events.
    pub(super) events: u64,
    /// With settlements, which may use up the ballast, but not the blocks that the shared-memory file needs: without it,
    /// the next process cannot open the database.
    pub(super) settlements: u64,
}

impl Room {
    /// No limit by the volume.
    pub(super) const UNLIMITED: Room = Room { events: u64::MAX, settlements: u64::MAX };

    pub(super) fn of(space: Space, bounds: Bounds, ballast: BallastState) -> Self {
        let Some(volume) = space.volume else { return Self::UNLIMITED };
        let end = (space.database + space.available).saturating_sub(log_growth(space, bounds));
        let events = end.saturating_sub(margin(volume));
        let missing = bounds.ballast_bytes().saturating_sub(space.ballast);
        let events = match ballast {
            BallastState::InPlace => events,
            BallastState::NoRoom => space.database,
            BallastState::Failed => events.saturating_sub(missing),
        };
        let settlements = end.saturating_add(space.ballast).saturating_sub(margin(volume) / 2);
        Room { events, settlements }
    }

    /// The bytes that are left for new events, with this configured capacity, while the database uses `used` bytes and
    /// `unsettled` events wait for their first settlement, counted once per sink. No event fits unless it is positive.
    pub(super) fn free(self, capacity_bytes: u64, used: u64, unsettled: u64) -> i128 {
        let reserve = i128::from(RESERVE_BYTES) + i128::from(unsettled) * i128::from(SETTLEMENT_BYTES);
        let by_volume = i128::from(self.events) - reserve;
        by_volume.min(i128::from(capacity_bytes)) - i128::from(used)
    }
}

/// Whether a ballast of the full length fits beside a log of the full length and a database of this length.
pub(super) fn ballast_fits(space: Space, bounds: Bounds, database_bytes: u64) -> bool {
    let Some(volume) = space.volume else { return true };
    let needed = bounds.ballast_bytes().saturating_sub(space.ballast)
        + log_growth(space, bounds)
        + database_bytes.saturating_sub(space.database)
        + margin(volume) / 2;
    needed <= space.available
}

/// How many bytes the log can still grow.
fn log_growth(space: Space, bounds: Bounds) -> u64 {
    bounds.log_bytes().saturating_sub(space.log)
}

fn margin(volume: u64) -> u64 {
    (volume / MARGIN_PART).clamp(MARGIN_BYTES.0, MARGIN_BYTES.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn bounds() -> Bounds {
        Bounds::of(Some(64 * MIB), 64 * MIB)
    }

    /// A volume of 64 MiB with these bytes in the database and the log, and with its ballast.
    fn space(database: u64, log: u64) -> Space {
        let ballast = bounds().ballast_bytes();
        let available = 64 * MIB - database - log - ballast;
        Space { volume: Some(64 * MIB), available, database, log, ballast }
    }

    #[test]
    fn the_end_of_the_database_does_not_move_while_database_and_log_grow() {
        let log = bounds().log_bytes();
        let rooms = [space(MIB, 0), space(20 * MIB, log), space(50 * MIB, log / 2)];
        let rooms = rooms.map(|space| Room::of(space, bounds(), BallastState::InPlace));
        assert_eq!([rooms[0]; 3], rooms);
        let all = 64 * MIB - log;
        assert_eq!(rooms[0].settlements, all - margin(64 * MIB) / 2);
        assert_eq!(rooms[0].events, all - bounds().ballast_bytes() - margin(64 * MIB));
    }

    #[test]
    fn without_room_for_a_ballast_only_free_pages_are_used() {
        let given_up = Space { ballast: 0, available: bounds().ballast_bytes(), ..space(50 * MIB, MIB) };
        let room = Room::of(given_up, bounds(), BallastState::NoRoom);
        assert_eq!(room.events, 50 * MIB);
        assert!(room.settlements > room.events, "settlements use what the ballast freed");
        assert!(room.free(u64::MAX, 50 * MIB, 0) <= 0);
        assert!(room.free(u64::MAX, 49 * MIB, 0) > 0);
    }

    #[test]
    fn a_ballast_fits_only_beside_the_longest_log_and_the_next_checkpoint() {
        let log = bounds().log_bytes();
        let without = |available| Space { ballast: 0, available, ..space(50 * MIB, MIB) };
        let needed = log + (log - MIB) + MIB + margin(64 * MIB) / 2;
        assert!(ballast_fits(without(needed), bounds(), 51 * MIB));
        assert!(!ballast_fits(without(needed - 1), bounds(), 51 * MIB));
    }

    #[test]
    fn settlements_of_all_waiting_events_are_reserved() {
        let room = Room { events: 10 * MIB, settlements: 12 * MIB };
        assert_eq!(room.free(u64::MAX, 0, 0) - room.free(u64::MAX, 0, 1000), 256_000);
        assert_eq!(room.free(MIB, 0, 1000), i128::from(MIB), "the reserve is part of the volume, not of the capacity");
    }

    #[test]
    fn a_volume_without_a_limit_limits_nothing() {
        let space = Space::default();
        assert_eq!(Room::of(space, bounds(), BallastState::Failed), Room::UNLIMITED);
        assert!(ballast_fits(space, bounds(), MIB));
    }
}

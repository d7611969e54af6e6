//! The time that expiry relies on. A wall clock that jumps ahead by more than an hour, by mistake or while the receiver
//! was down, expires nothing until it has stood there for an hour: what it deletes cannot be restored. Pure.

use std::time::{Duration, Instant};

/// The largest step ahead that is believed at once, and how long a larger one must last.
const HOUR: Duration = Duration::from_secs(3600);
const HOUR_SECONDS: i64 = 3600;

/// Compares the wall clock with the monotonic clock.
#[derive(Debug)]
pub(super) struct ExpiryClock {
    believed: Reading,
    /// The first reading after a jump that is not believed yet.
    jumped: Option<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Seconds since the epoch.
    wall: i64,
    at: Instant,
}

/// The time to expire by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExpiryTime {
    /// Seconds since the epoch.
    pub(super) now: i64,
    /// How many seconds the wall clock is ahead of `now`.
    pub(super) ahead: i64,
}

impl Reading {
    /// The time that the wall clock shows at `at` if it neither jumps nor stands still.
    fn expected(self, at: Instant) -> i64 {
        let elapsed = at.saturating_duration_since(self.at).as_secs();
        self.wall.saturating_add_unsigned(elapsed)
    }

    fn is_jump(self, next: Reading) -> bool {
        next.wall > self.expected(next.at).saturating_add(HOUR_SECONDS)
    }
}

impl ExpiryClock {
    /// A clock that shows `wall` at `at`. `last` is the time that an earlier process last believed.
    pub(super) fn new(last: Option<i64>, wall: i64, at: Instant) -> Self {
        ExpiryClock { believed: Reading { wall: last.unwrap_or(wall), at }, jumped: None }
    }

    /// The time to expire by while the clocks show `wall` and `at`. A step back is believed at once.
    pub(super) fn read(&mut self, wall: i64, at: Instant) -> ExpiryTime {
        let reading = Reading { wall, at };
        let jumped = match self.jumped {
            Some(jumped) if !jumped.is_jump(reading) => jumped,
            Some(_) | None => reading,
        };
        let stood = at.saturating_duration_since(jumped.at) >= HOUR;
        if stood || !self.believed.is_jump(reading) {
            *self = ExpiryClock { believed: reading, jumped: None };
            return ExpiryTime { now: wall, ahead: 0 };
        }
        self.jumped = Some(jumped);
        let now = self.believed.expected(at);
        ExpiryTime { now, ahead: wall.saturating_sub(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const NOW: i64 = 1_700_000_000;
    const DAY: i64 = 86_400;

    /// A clock that an earlier process left at `last`, and what it believes at each (monotonic second, wall second).
    fn check(last: Option<i64>, readings: &[(u64, i64, i64)]) {
        let began = clock::monotonic();
        let mut clock = ExpiryClock::new(last, NOW, began);
        for &(second, wall, believed) in readings {
            let time = clock.read(NOW + wall, began + Duration::from_secs(second));
            let expected = ExpiryTime { now: NOW + believed, ahead: wall - believed };
            assert_eq!(time, expected, "after {second} seconds of {readings:?}");
        }
    }

    #[test]
    fn an_ordinary_clock_is_believed() {
        check(None, &[(0, 0, 0), (10, 10, 10), (20, 3_500, 3_500), (30, 100, 100)]);
        check(Some(NOW - 60), &[(0, 0, 0)]);
    }

    #[test]
    fn a_jump_of_more_than_an_hour_is_believed_after_an_hour() {
        check(None, &[(10, 10, 10), (20, DAY, 20), (3_619, DAY + 3_599, 3_619), (3_620, DAY + 3_600, DAY + 3_600)]);
    }

    #[test]
    fn a_jump_that_is_taken_back_is_never_believed() {
        check(None, &[(10, DAY, 10), (20, 20, 20), (3_600, DAY, 3_600), (3_700, DAY, 3_700)]);
    }

    #[test]
    fn a_second_jump_must_stand_for_an_hour_itself() {
        check(None, &[(10, DAY, 10), (3_000, 9 * DAY, 3_000), (3_700, 9 * DAY, 3_700), (6_600, 9 * DAY, 9 * DAY)]);
    }

    #[test]
    fn a_restart_does_not_hide_a_jump() {
        check(Some(NOW - 9 * DAY), &[(0, 0, -9 * DAY), (3_599, 3_599, 3_599 - 9 * DAY), (3_600, 3_600, 3_600)]);
        check(Some(NOW + DAY), &[(0, 0, 0)]);
    }
}

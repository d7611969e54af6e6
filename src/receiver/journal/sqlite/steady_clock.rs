//! The wall clock without its last jump ahead, for an hour. Identities are seen by the wall clock, so one that was set
//! right after a start in 1970 must not make those that were seen before it 56 years old. Pure.

use std::time::{Duration, Instant};

/// The largest step that is believed at once, and how long a larger one must last.
const HOUR: Duration = Duration::from_secs(3600);
const HOUR_SECONDS: i64 = 3600;

/// Compares each reading of the wall clock with the one before.
#[derive(Debug)]
pub(super) struct SteadyClock {
    last: (i64, Instant),
    /// The time that the clock would have shown when it jumped ahead, and when that was.
    jumped: Option<(i64, Instant)>,
}

impl SteadyClock {
    /// A clock that shows `wall` at `at`.
    pub(super) fn new(wall: i64, at: Instant) -> Self {
        SteadyClock { last: (wall, at), jumped: None }
    }

    /// The time without a jump ahead within the last hour, while the clock shows `wall` at `at`.
    pub(super) fn read(&mut self, wall: i64, at: Instant) -> i64 {
        let expected = expected(self.last, at);
        let step = wall.saturating_sub(expected);
        if step > HOUR_SECONDS {
            self.jumped.get_or_insert((expected, at));
        } else if step < -HOUR_SECONDS {
            self.jumped = None;
        }
        self.last = (wall, at);
        self.jumped = self.jumped.filter(|(_, since)| at.saturating_duration_since(*since) < HOUR);
        self.jumped.map_or(wall, |before| self::expected(before, at).min(wall))
    }
}

/// The time that a clock shows at `at` if it does not jump.
fn expected((seconds, since): (i64, Instant), at: Instant) -> i64 {
    seconds.saturating_add_unsigned(at.saturating_duration_since(since).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_jump_ahead_counts_after_an_hour_and_a_step_back_at_once() {
        const DAY: i64 = 86_400;
        let began = clock::monotonic();
        let mut clock = SteadyClock::new(0, began);
        for (second, wall, expected) in [
            (10, 10, 10),
            (20, 3_000, 3_000),
            (30, 50 * DAY, 3_010),
            (40, 50 * DAY + 10, 3_020),
            // Another one meanwhile.
            (50, 90 * DAY, 3_030),
            (3_629, 90 * DAY + 3_579, 3_010 + 3_599),
            (3_630, 90 * DAY + 3_580, 90 * DAY + 3_580),
            (3_640, DAY, DAY),
            (3_650, 9 * DAY, DAY + 10),
            (3_660, DAY + 20, DAY + 20),
        ] {
            assert_eq!(clock.read(wall, began + Duration::from_secs(second)), expected, "after {second} s");
        }
    }
}

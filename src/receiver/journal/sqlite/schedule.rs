//! When the writer's maintenance is due. Pure.

use std::time::{Duration, Instant};

/// The interval of passes if there was nothing more to delete.
const INTERVAL: Duration = Duration::from_secs(1);

/// When the next pass is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    last: Instant,
    /// Whether the last pass left something to delete.
    more: bool,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Schedule { last: now, more: false }
    }

    /// Whether the last pass left something to delete.
    pub(super) fn set_more(&mut self, more: bool) {
        self.more = more;
    }

    /// How long the next pass must wait at `now`. Without room, whether there is more or not, it waits longer: under load
    /// the log mostly restarts within an interval by itself.
    pub(super) fn due_in(self, now: Instant, has_room: bool) -> Duration {
        let interval = match (has_room, self.more) {
            (true, true) => Duration::ZERO,
            (true, false) => INTERVAL,
            (false, true | false) => 2 * INTERVAL,
        };
        interval.saturating_sub(now.saturating_duration_since(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_pass_that_has_no_room_does_not_spin() {
        let now = clock::monotonic();
        for (more, has_room, after_ms, due_in_ms) in [
            (false, true, 0, 1000),
            (false, true, 400, 600),
            (false, true, 1500, 0),
            (true, true, 0, 0),
            (true, false, 0, 2000),
            (true, false, 2000, 0),
            (false, false, 1000, 1000),
        ] {
            let due_in = Schedule { last: now, more }.due_in(now + Duration::from_millis(after_ms), has_room);
            assert_eq!(due_in, Duration::from_millis(due_in_ms), "{more} {has_room} {after_ms}");
        }
    }
}

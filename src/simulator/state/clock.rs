//! The simulator's time: the real clock plus an offset that only grows. Inside, everything is in simulated time; on
//! the wire, everything is simulated time minus the offset, so that the world outside, whose clock did not move, sees
//! the past grow longer instead of its own clock being wrong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::refusal::Refusal;

/// How far the simulator may be moved ahead in all: 100 years. Keeps every sum of times inside what a timestamp holds.
pub const OFFSET_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    offset: Duration,
}

impl Clock {
    /// Simulated time at the real time `real`.
    #[must_use]
    pub fn now(&self, real: Timestamp) -> Timestamp {
        real + self.offset
    }

    /// What the world outside is told about the simulated moment `at`: seconds since the epoch of its own clock.
    #[must_use]
    pub fn on_the_wire(&self, at: Timestamp) -> i64 {
        (at - self.offset).as_second()
    }

    /// How far simulated time is ahead of real time.
    #[must_use]
    pub fn offset(&self) -> Duration {
        self.offset
    }

    /// # Errors
    /// [`Refusal::Unprocessable`] when moving ahead by `by` would go past [`OFFSET_MAX`].
    pub fn may_move_by(&self, by: Duration) -> Result<(), Refusal> {
        if self.offset.saturating_add(by) > OFFSET_MAX {
            return Err(Refusal::Unprocessable("the simulator would be more than 100 years ahead".to_owned()));
        }
        Ok(())
    }

    /// Makes `target` the simulated time at the real time `real`. Time never runs backwards: an earlier target
    /// changes nothing.
    pub fn move_to(&mut self, target: Timestamp, real: Timestamp) {
        let ahead = target.duration_since(real).max(SignedDuration::ZERO).unsigned_abs();
        self.offset = self.offset.max(ahead).min(OFFSET_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_ahead_makes_the_past_longer_for_the_world_outside() {
        let real = Timestamp::from_second(1_000_000).unwrap();
        let hour = Duration::from_secs(3600);
        let mut clock = Clock::default();
        let before = clock.now(real);
        clock.move_to(before + hour, real);
        assert_eq!(clock.now(real), real + hour);
        assert_eq!(clock.on_the_wire(clock.now(real)), 1_000_000, "what happens now is now outside too");
        assert_eq!(clock.on_the_wire(before), 1_000_000 - 3600, "what was before is an hour ago");
        clock.move_to(before, real);
        assert_eq!(clock.offset(), hour, "time does not run backwards");
    }
}

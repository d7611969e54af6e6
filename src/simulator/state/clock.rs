//! The simulator's time: the real clock plus an offset that only grows. The state is in simulated time; responses and
//! deliveries are in real time, simulated time minus the offset. An outside observer, whose clock did not move,
//! therefore sees past events move further back, not a wrong clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::rejection::Rejection;

/// The largest offset, 100 years, with which no sum of times overflows a timestamp.
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

    /// The simulated time `at` in real time, in seconds since the epoch.
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
    /// [`Rejection::Unprocessable`] if advancing by `by` would exceed [`OFFSET_MAX`].
    pub fn check_move_by(&self, by: Duration) -> Result<(), Rejection> {
        if self.offset.saturating_add(by) > OFFSET_MAX {
            return Err(Rejection::Unprocessable("the simulator would be more than 100 years ahead".to_owned()));
        }
        Ok(())
    }

    /// Sets the simulated time to `target` at the real time `real`. Time never runs backwards: an earlier target is a
    /// no-op.
    pub fn move_to(&mut self, target: Timestamp, real: Timestamp) {
        let ahead = target.duration_since(real).max(SignedDuration::ZERO).unsigned_abs();
        self.offset = self.offset.max(ahead).min(OFFSET_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_past_events_further_back_in_real_time() {
        let real = Timestamp::from_second(1_000_000).unwrap();
        let hour = Duration::from_secs(3600);
        let mut clock = Clock::default();
        let before = clock.now(real);
        clock.move_to(before + hour, real);
        assert_eq!(clock.now(real), real + hour);
        assert_eq!(clock.on_the_wire(clock.now(real)), 1_000_000, "the present is the present in real time too");
        assert_eq!(clock.on_the_wire(before), 1_000_000 - 3600, "an earlier event is an hour ago");
        clock.move_to(before, real);
        assert_eq!(clock.offset(), hour, "time does not run backwards");
    }
}

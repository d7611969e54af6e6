//! The journal's own time, which expiry relies on. It counts seconds by the monotonic clock, follows the wall clock, and
//! never steps back. A wall clock that jumps ahead by more than an hour, by mistake or while the receiver was down,
//! expires nothing until it has stood there for an hour: what it deletes cannot be restored. Pure.

use std::time::{Duration, Instant};

use super::{clock_jumps::Jump, steady_clock::SteadyClock};

/// The largest step ahead that is believed at once, and how long a larger one must last.
const HOUR: Duration = Duration::from_secs(3600);
const HOUR_SECONDS: i64 = 3600;

/// Compares the wall clock with the monotonic clock.
#[derive(Debug)]
pub(super) struct ExpiryClock {
    /// The journal's time at some moment.
    anchor: Reading,
    /// A jump that is not believed yet.
    jumped: Option<Jumped>,
    /// The journal's time when this process began to count: no jump ages what it stored since then.
    began: i64,
    /// The same for an earlier process, if the clock has been in doubt since then.
    in_doubt_since: Option<i64>,
    steady: SteadyClock,
}

#[derive(Clone, Copy, Debug)]
struct Jumped {
    /// The first reading after the jump.
    first: Reading,
    /// How many seconds the last reading was ahead.
    ahead: i64,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Seconds since the epoch.
    seconds: i64,
    at: Instant,
}

/// The state that an earlier process stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The journal's time.
    pub(super) time: i64,
    pub(super) in_doubt_since: Option<i64>,
}

/// The time to expire by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExpiryTime {
    /// The journal's time.
    pub(super) now: i64,
    /// Seconds since the epoch, as the wall clock shows them.
    wall: i64,
    /// The same without a jump ahead within the last hour.
    steady: i64,
}

impl ExpiryTime {
    /// The time to forget identities by, which are seen by the wall clock: the earlier one while a clock is in doubt.
    pub(super) fn for_identities(self) -> i64 {
        self.now.min(self.steady)
    }

    /// How many seconds the wall clock is ahead of that.
    pub(super) fn ahead(self) -> i64 {
        self.wall.saturating_sub(self.for_identities()).max(0)
    }
}

impl Reading {
    /// The time that the clock shows at `at` if it neither jumps nor stands still.
    fn expected(self, at: Instant) -> i64 {
        let elapsed = at.saturating_duration_since(self.at).as_secs();
        self.seconds.saturating_add_unsigned(elapsed)
    }

    /// How many seconds `next` is ahead of what was expected.
    fn step(self, next: Reading) -> i64 {
        next.seconds.saturating_sub(self.expected(next.at))
    }
}

impl ExpiryClock {
    /// A clock that shows `wall` at `at`, and continues what an earlier process `stored`.
    pub(super) fn new(stored: Option<Stored>, wall: i64, at: Instant) -> Self {
        let began = stored.map_or(wall, |stored| stored.time);
        let in_doubt_since = stored.and_then(|stored| stored.in_doubt_since);
        let (anchor, steady) = (Reading { seconds: began, at }, SteadyClock::new(wall, at));
        let mut clock = ExpiryClock { anchor, jumped: None, began, in_doubt_since, steady };
        let step = clock.anchor.step(Reading { seconds: wall, at });
        if (-HOUR_SECONDS..=HOUR_SECONDS).contains(&step) {
            // The stored time of this process follows the wall clock from the start.
            clock.read(wall, at);
            clock.began = clock.anchor.seconds;
        } else {
            clock.in_doubt_since = in_doubt_since.or(Some(began));
        }
        clock
    }

    /// The journal's time while the clocks show `wall` and `at`.
    pub(super) fn read(&mut self, wall: i64, at: Instant) -> ExpiryTime {
        let reading = Reading { seconds: wall, at };
        let step = self.anchor.step(reading);
        if step > HOUR_SECONDS {
            let stands = self.jumped.filter(|jumped| jumped.first.step(reading).abs() <= HOUR_SECONDS);
            self.jumped = Some(Jumped { first: stands.map_or(reading, |jumped| jumped.first), ahead: step });
        } else {
            self.jumped = None;
            if step >= -HOUR_SECONDS {
                self.in_doubt_since = None;
            }
            if step > 0 {
                self.anchor = reading;
            }
        }
        ExpiryTime { now: self.anchor.expected(at), wall, steady: self.steady.read(wall, at) }
    }

    /// The state that a later process needs, as of `at`.
    pub(super) fn stored(&self, at: Instant) -> Stored {
        Stored { time: self.anchor.expected(at), in_doubt_since: self.in_doubt_since }
    }

    /// The jump to believe at `at`, if the wall clock has stood there for an hour; until [`ExpiryClock::believe`] it is
    /// not believed.
    pub(super) fn jump(&self, at: Instant) -> Option<Jump> {
        let jumped = self.jumped.filter(|jumped| at.saturating_duration_since(jumped.first.at) >= HOUR)?;
        let since = self.in_doubt_since.unwrap_or(self.began);
        Some(Jump { since, until: self.anchor.expected(at), seconds: jumped.ahead })
    }

    /// Believes a jump that [`ExpiryClock::jump`] returned for `at`.
    pub(super) fn believe(&mut self, jump: Jump, at: Instant) {
        self.anchor = Reading { seconds: jump.until.saturating_add(jump.seconds), at };
        self.began = self.began.saturating_add(jump.seconds);
        (self.jumped, self.in_doubt_since) = (None, None);
    }
}

#[cfg(test)]
mod tests;

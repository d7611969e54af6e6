//! Whether a sink gets events, and how many at the same time. A sink that fails repeatedly, or asks for a pause, is held:
//! it gets one event from time to time, a probe, until it takes one. Pure; moments are monotonic.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    receiver::journal::Position,
    route::status::{HoldCause, SinkHold},
};

/// How many attempts are in flight at the same time at most.
pub(super) const PLACES: usize = 8;
/// The number of failures that hold a sink.
const STREAK: usize = 5;
/// The delay before the first probe; doubled by each failed one up to the maximum.
const COOLDOWN: Duration = Duration::from_secs(1);
const COOLDOWN_MAX: Duration = Duration::from_secs(60);
/// The bounds of a pause that a sink asks for.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// The successes in a row before a sink that asked for a pause gets twice as many events at the same time.
const CAREFUL: u32 = 8;

/// The state of one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Not held. `streak` has the events of the last failures that suspect the sink, without a success in between.
    Open { streak: VecDeque<Position>, places: Places },
    /// Held: no attempt before `until`.
    Waiting { hold: Held, until: Instant },
    /// Held: the result of this attempt is awaited.
    Probing { hold: Held, position: Position },
}

/// A hold: its cause, its start, and the delay before the next probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    cause: HoldCause,
    since: Instant,
    cooldown: Duration,
}

/// How many attempts may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    Full,
    /// After a hold: `places` at first, twice as many after `needed` successes in a row.
    Opening {
        places: usize,
        needed: u32,
        successes: u32,
    },
}

/// The attempts that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// This number at the same time.
    Places(usize),
    /// One, to probe the sink.
    Probe,
    /// None before this moment.
    NoneUntil(Instant),
    /// None before the probe has ended.
    NoneWhileProbing,
}

impl Places {
    /// The window after a hold.
    fn after(cause: HoldCause) -> Self {
        let needed = match cause {
            HoldCause::Failures => 1,
            HoldCause::RetryAfter => CAREFUL,
        };
        Places::Opening { places: 1, needed, successes: 0 }
    }

    fn count(self) -> usize {
        match self {
            Places::Full => PLACES,
            Places::Opening { places, .. } => places,
        }
    }

    fn succeeded(self) -> Self {
        let Places::Opening { places, needed, successes } = self else { return Places::Full };
        match (successes + 1 >= needed, places * 2 >= PLACES) {
            (false, _) => Places::Opening { places, needed, successes: successes + 1 },
            (true, false) => Places::Opening { places: places * 2, needed, successes: 0 },
            (true, true) => Places::Full,
        }
    }

    fn failed(self) -> Self {
        match self {
            Places::Full => Places::Full,
            Places::Opening { places, needed, .. } => Places::Opening { places, needed, successes: 0 },
        }
    }
}

impl Hold {
    pub(super) fn new() -> Self {
        Hold::open(Places::Full)
    }

    fn open(places: Places) -> Self {
        Hold::Open { streak: VecDeque::new(), places }
    }

    /// Records that all attempts were given up: a probe among them has no result.
    pub(super) fn abandon(&mut self, now: Instant) {
        if let Hold::Probing { hold, .. } = *self {
            *self = Hold::Waiting { hold, until: now };
        }
    }

    /// The attempts allowed at `now`.
    pub(super) fn permit(&self, now: Instant) -> Permit {
        match self {
            Hold::Open { places, .. } => Permit::Places(places.count()),
            Hold::Waiting { until, .. } if now < *until => Permit::NoneUntil(*until),
            Hold::Waiting { .. } => Permit::Probe,
            Hold::Probing { .. } => Permit::NoneWhileProbing,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        match self {
            Hold::Open { .. } => false,
            Hold::Waiting { .. } | Hold::Probing { .. } => true,
        }
    }

    /// Whether no attempt has failed through the sink since it last took an event.
    pub(super) fn is_trusted(&self) -> bool {
        match self {
            Hold::Open { streak, .. } => streak.is_empty(),
            Hold::Waiting { .. } | Hold::Probing { .. } => false,
        }
    }

    /// Whether one more failure holds the sink.
    pub(super) fn is_doubtful(&self) -> bool {
        match self {
            Hold::Open { streak, .. } => streak.len() + 1 >= STREAK,
            Hold::Waiting { .. } | Hold::Probing { .. } => false,
        }
    }

    /// Records that the probe of a held sink begins.
    pub(super) fn probe(&mut self, position: Position) {
        if let Hold::Waiting { hold, .. } = *self {
            *self = Hold::Probing { hold, position };
        }
    }

    /// Records that the sink took an event. This ends a hold, except a pause that the sink asked for and that is not
    /// over: the event was sent before.
    pub(super) fn succeeded(&mut self, now: Instant) {
        *self = match self {
            Hold::Open { places, .. } => Hold::open(places.succeeded()),
            Hold::Waiting { hold: Held { cause: HoldCause::RetryAfter, .. }, until } if now < *until => return,
            Hold::Waiting { hold, .. } | Hold::Probing { hold, .. } => Hold::open(Places::after(hold.cause)),
        };
    }

    /// Records a failure at `now` that is not the event's own. `pause` is the sink's `Retry-After`. `alone`: no other
    /// event can be sent to the sink.
    pub(super) fn failed(&mut self, position: Position, pause: Option<Duration>, alone: bool, now: Instant) {
        if let Some(pause) = pause {
            self.pause(now + pause.clamp(PAUSE_MIN, PAUSE_MAX), now);
            return;
        }
        match self {
            Hold::Open { streak, places } => {
                *places = places.failed();
                if streak.len() == STREAK {
                    streak.pop_front();
                }
                streak.push_back(position);
                let others = streak.iter().any(|other| *other != position);
                if streak.len() == STREAK && (others || alone) {
                    let hold = Held { cause: HoldCause::Failures, since: now, cooldown: COOLDOWN };
                    *self = Hold::Waiting { hold, until: now + COOLDOWN };
                }
            }
            Hold::Probing { hold, position: probe } if *probe == position => {
                let cooldown = hold.cooldown.saturating_mul(2).min(COOLDOWN_MAX);
                let hold = Held { cause: HoldCause::Failures, since: hold.since, cooldown };
                *self = Hold::Waiting { hold, until: now + cooldown };
            }
            // The attempt began before the hold.
            Hold::Waiting { .. } | Hold::Probing { .. } => {}
        }
    }

    /// Records that the probe was not sent, so that it says nothing about the sink: the next one may be sent after
    /// `delay`.
    pub(super) fn not_sent(&mut self, position: Position, delay: Duration, now: Instant) {
        if let Hold::Probing { hold, position: probe } = *self
            && probe == position
        {
            *self = Hold::Waiting { hold, until: now + delay };
        }
    }

    /// Records that a sink asks for a pause.
    fn pause(&mut self, until: Instant, now: Instant) {
        let (hold, until) = match *self {
            Hold::Open { .. } => (Held { cause: HoldCause::RetryAfter, since: now, cooldown: COOLDOWN }, until),
            Hold::Waiting { hold, until: before } => (hold, until.max(before)),
            Hold::Probing { hold, .. } => (hold, until),
        };
        *self = Hold::Waiting { hold: Held { cause: HoldCause::RetryAfter, ..hold }, until };
    }

    /// The hold's cause and the moment of the next probe, which change when the status does.
    pub(super) fn mark(&self) -> Option<(HoldCause, Option<Instant>)> {
        match self {
            Hold::Open { .. } => None,
            Hold::Waiting { hold, until } => Some((hold.cause, Some(*until))),
            Hold::Probing { hold, .. } => Some((hold.cause, None)),
        }
    }

    /// The hold as the status shows it at `now`, which is `seconds` since the epoch.
    pub(super) fn status(&self, now: Instant, seconds: i64) -> Option<SinkHold> {
        let (hold, until) = match self {
            Hold::Open { .. } => return None,
            Hold::Waiting { hold, until } => (hold, *until),
            Hold::Probing { hold, .. } => (hold, now),
        };
        let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Some(SinkHold {
            cause: hold.cause,
            since_time: seconds.saturating_sub(whole(now.saturating_duration_since(hold.since))),
            next_attempt_time: seconds.saturating_add(whole(until.saturating_duration_since(now))),
        })
    }
}

#[cfg(test)]
mod tests;

//! The outcome of a failed attempt: a retry at some time, or a dead letter. Pure: jitter and time are passed in.

use std::time::Duration;

use crate::{
    receiver::{
        journal::{Outcome, tries::Tries},
        sink::failure::{Failure, Suspect},
    },
    route::Retry,
};

/// The number of own failures that suspect the event, and make it a dead letter.
const SUSPICIONS: u32 = 3;

/// The cause of a failure, as other events show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The failure is the event's own.
    Event,
    /// The failure suspects the sink, and no other event shows the contrary.
    Sink,
    /// The sink is held: the failure is not the event's.
    Hold,
}

/// The circumstances of a failed attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempted {
    /// The number of events that the sink has taken by now.
    pub(super) taken: i64,
    /// Whether the sink was held at the start or at the end of the attempt.
    pub(super) held: bool,
    pub(super) duration: Duration,
    /// From 0 to 1: shortens a delay by up to half, so that events that failed together are not retried together.
    pub(super) jitter: f64,
    /// Milliseconds since the epoch.
    pub(super) now: i64,
}

impl Blame {
    /// The cause of a failure of an event with these earlier tries. An answer that suspects the event needs no witness;
    /// one that suspects the sink is the event's own if the sink took another event since the event's last failure.
    pub(super) fn of(failure: &Failure, tries: &Tries, Attempted { taken, held, .. }: Attempted) -> Self {
        if held || failure.retry_after().is_some() {
            return Blame::Hold;
        }
        match failure.suspect() {
            Suspect::Event => Blame::Event,
            Suspect::Sink if failure.is_rate_limit() => Blame::Sink,
            Suspect::Sink if tries.taken.is_some_and(|before| before < taken) => Blame::Event,
            Suspect::Sink => Blame::Sink,
        }
    }
}

/// The outcome for an event that failed.
pub(super) fn after(failure: &Failure, blame: Blame, tries: Tries, retry: &Retry, attempted: Attempted) -> Outcome {
    let Attempted { taken, duration, jitter, now, held: _ } = attempted;
    let mut tries = Tries { attempts: tries.attempts.saturating_add(1), taken: Some(taken), ..tries };
    let delay = match blame {
        // The hold decides when the sink gets events again.
        Blame::Hold => 0,
        Blame::Sink => shortened(doubled(retry, tries.attempts), jitter),
        Blame::Event => {
            tries.suspicions += u32::from(failure.suspect() == Suspect::Event);
            // The time from the first own failure to this one: it began after the first.
            if tries.charged_ms > 0 {
                tries.charged_ms = tries.charged_ms.saturating_add(millis(duration));
            }
            let given_up = match failure.suspect() {
                Suspect::Event => tries.suspicions >= SUSPICIONS,
                Suspect::Sink => tries.charged_ms >= seconds(retry.give_up_after_seconds),
            };
            if given_up {
                return Outcome::DeadLetter { failure: failure.to_string(), at: now };
            }
            let delay = shortened(charged(retry, tries.charged_ms), jitter);
            tries.charged_ms = tries.charged_ms.saturating_add(delay);
            delay
        }
    };
    Outcome::Retry { tries, due_at: now.saturating_add(delay) }
}

/// The delay after the n-th failure: `delay * 2^(n - 1)`, at most `max_delay`.
fn doubled(retry: &Retry, failures: u32) -> i64 {
    let doubled = 2_i64.saturating_pow(failures.saturating_sub(1));
    seconds(retry.delay_seconds).saturating_mul(doubled).min(seconds(retry.max_delay_seconds))
}

/// The delay of an event that was charged for this time: its own delays, each as long as those before it together.
fn charged(retry: &Retry, charged_ms: i64) -> i64 {
    seconds(retry.delay_seconds).saturating_add(charged_ms).min(seconds(retry.max_delay_seconds))
}

fn shortened(delay: i64, jitter: f64) -> i64 {
    (delay as f64 * (1.0 - jitter.clamp(0.0, 1.0) / 2.0)) as i64
}

fn seconds(seconds: u32) -> i64 {
    i64::from(seconds).saturating_mul(1000)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

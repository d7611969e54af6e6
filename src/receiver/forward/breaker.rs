//! A circuit breaker: a sink that fails repeatedly gets no events except for a probe from time to time. Its events keep
//! their retries. Pure; times are milliseconds since the epoch.

/// Consecutive failures that open the circuit.
const FAILURES: u32 = 5;
/// How long it stays open at first; doubled by each failed probe up to the maximum.
const COOLDOWN: i64 = 1_000;
const COOLDOWN_MAX: i64 = 60_000;

/// One sink's circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    /// All attempts are allowed; `failures` attempts failed in a row.
    Closed { failures: u32 },
    /// No attempt is allowed before `until`.
    Open { until: i64, cooldown: i64 },
    /// One attempt decides.
    HalfOpen { cooldown: i64 },
}

/// The attempts that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    All,
    One,
    NoneUntil(i64),
}

impl Breaker {
    pub(super) fn new() -> Self {
        Breaker::Closed { failures: 0 }
    }

    /// The attempts allowed at `now`. An open circuit whose cooldown is over becomes half open.
    pub(super) fn permit(&mut self, now: i64) -> Permit {
        match *self {
            Breaker::Closed { .. } => Permit::All,
            Breaker::Open { until, .. } if now < until => Permit::NoneUntil(until),
            Breaker::Open { cooldown, .. } | Breaker::HalfOpen { cooldown } => {
                *self = Breaker::HalfOpen { cooldown };
                Permit::One
            }
        }
    }

    /// Records a delivered event.
    pub(super) fn succeeded(&mut self) {
        *self = Breaker::new();
    }

    /// Records a failed attempt at `now`. Attempts that were in flight when the circuit opened change nothing.
    pub(super) fn failed(&mut self, now: i64) {
        *self = match *self {
            Breaker::Closed { failures } if failures + 1 < FAILURES => Breaker::Closed { failures: failures + 1 },
            Breaker::Closed { .. } => Breaker::Open { until: now.saturating_add(COOLDOWN), cooldown: COOLDOWN },
            Breaker::HalfOpen { cooldown } => {
                let cooldown = cooldown.saturating_mul(2).min(COOLDOWN_MAX);
                Breaker::Open { until: now.saturating_add(cooldown), cooldown }
            }
            open @ Breaker::Open { .. } => open,
        };
    }

    /// When the cooldown ends; `None` while the circuit is not open.
    pub(super) fn open_until(&self) -> Option<i64> {
        match self {
            Breaker::Open { until, .. } => Some(*until),
            Breaker::Closed { .. } | Breaker::HalfOpen { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened(now: i64) -> Breaker {
        let mut breaker = Breaker::new();
        (0..FAILURES).for_each(|_| breaker.failed(now));
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_resets_the_count() {
        let mut breaker = Breaker::new();
        for _ in 0..3 {
            (0..4).for_each(|_| breaker.failed(0));
            assert_eq!(breaker.permit(0), Permit::All);
            breaker.succeeded();
        }
        assert_eq!(opened(0).permit(0), Permit::NoneUntil(1_000));
    }

    #[test]
    fn after_the_cooldown_one_attempt_decides() {
        let mut breaker = opened(0);
        assert_eq!(breaker.permit(999), Permit::NoneUntil(1_000));
        assert_eq!(breaker.permit(1_000), Permit::One);
        assert_eq!(breaker.permit(1_000), Permit::One, "until its result is known");
        breaker.succeeded();
        assert_eq!(breaker.permit(1_000), Permit::All);
    }

    #[test]
    fn each_failed_probe_doubles_the_cooldown_up_to_a_minute() {
        let (mut breaker, mut now, mut waits) = (opened(0), 0, Vec::new());
        for _ in 0..8 {
            let Permit::NoneUntil(until) = breaker.permit(now) else { panic!("{breaker:?}") };
            waits.push((until - now) / 1_000);
            now = until;
            assert_eq!(breaker.permit(now), Permit::One);
            breaker.failed(now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn attempts_in_flight_when_it_opened_do_not_extend_the_cooldown() {
        let mut breaker = opened(0);
        breaker.failed(900);
        assert_eq!(breaker.open_until(), Some(1_000));
    }

    proptest! {
        #[test]
        fn it_never_stays_open_for_longer_than_a_minute(results in proptest::collection::vec(any::<bool>(), 0..200)) {
            let (mut breaker, mut now) = (Breaker::new(), 0);
            for ok in results {
                if let Permit::NoneUntil(until) = breaker.permit(now) {
                    prop_assert!(until - now <= COOLDOWN_MAX);
                    now = until;
                    prop_assert_eq!(breaker.permit(now), Permit::One);
                }
                if ok { breaker.succeeded() } else { breaker.failed(now) }
            }
        }
    }
}

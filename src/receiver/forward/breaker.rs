//! A circuit breaker: a sink that fails time and again is left in peace, but for a probe now and then. Its events keep
//! their retries meanwhile. Pure; times are milliseconds since the epoch.

/// Failures in a row that open the circuit.
const FAILURES: u32 = 5;
/// How long it stays open the first time; doubled with each probe that fails, up to the second.
const COOLDOWN: i64 = 1_000;
const COOLDOWN_MAX: i64 = 60_000;

/// One sink's circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    /// All goes through; so many attempts failed in a row.
    Closed { failures: u32 },
    /// Nothing goes through before `until`.
    Open { until: i64, cooldown: i64 },
    /// One attempt decides.
    HalfOpen { cooldown: i64 },
}

/// What may be sent.
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

    /// What may be sent at `now`. An open circuit whose time has come is half open from here on.
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

    /// The sink took an event.
    pub(super) fn succeeded(&mut self) {
        *self = Breaker::new();
    }

    /// The sink did not take an event at `now`. What was on its way when the circuit opened changes nothing.
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

    /// Until when nothing is sent; `None` while the circuit is not open.
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
    fn five_failures_in_a_row_open_it_and_a_success_between_them_starts_anew() {
        let mut breaker = Breaker::new();
        for _ in 0..3 {
            (0..4).for_each(|_| breaker.failed(0));
            assert_eq!(breaker.permit(0), Permit::All);
            breaker.succeeded();
        }
        assert_eq!(opened(0).permit(0), Permit::NoneUntil(1_000));
    }

    #[test]
    fn when_its_time_has_come_one_attempt_decides() {
        let mut breaker = opened(0);
        assert_eq!(breaker.permit(999), Permit::NoneUntil(1_000));
        assert_eq!(breaker.permit(1_000), Permit::One);
        assert_eq!(breaker.permit(1_000), Permit::One, "until its result is known");
        breaker.succeeded();
        assert_eq!(breaker.permit(1_000), Permit::All);
    }

    #[test]
    fn each_probe_that_fails_doubles_the_wait_up_to_a_minute() {
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
    fn what_was_on_its_way_when_it_opened_does_not_hold_it_open_longer() {
        let mut breaker = opened(0);
        breaker.failed(900);
        assert_eq!(breaker.open_until(), Some(1_000));
    }

    proptest! {
        #[test]
        fn it_never_stays_shut_for_longer_than_a_minute(results in proptest::collection::vec(any::<bool>(), 0..200)) {
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

//! Whose a failure is, and what becomes of the event.

use proptest::prelude::*;

use super::*;
use crate::receiver::sink::excerpt::Excerpt;

const RETRY: Retry = Retry { give_up_after_seconds: 60, delay_seconds: 2, max_delay_seconds: 20 };
const NOW: i64 = 1_000_000;

fn status(code: u16) -> Failure {
    Failure::Status { code, retry_after: None, answer: Excerpt::default() }
}

fn attempted(taken: i64, held: bool) -> Attempted {
    Attempted { taken, held, duration: Duration::ZERO, jitter: 0.0, now: NOW }
}

/// An event that failed before, when the sink had taken this number.
fn failed_at(taken: i64) -> Tries {
    Tries { attempts: 1, taken: Some(taken), ..Tries::default() }
}

#[test]
fn a_failure_is_the_events_own_if_the_sink_took_another_event_in_between() {
    let retry_after = Some(Duration::from_secs(5));
    let busy = Failure::Status { code: 503, retry_after, answer: Excerpt::default() };
    for (sentence, failure, tries, taken, held, blame) in [
        ("the first failure", status(500), Tries::default(), 9, false, Blame::Sink),
        ("none taken since", status(500), failed_at(9), 9, false, Blame::Sink),
        ("one taken since", status(500), failed_at(9), 10, false, Blame::Event),
        ("the same under a hold", status(500), failed_at(9), 10, true, Blame::Hold),
        ("one taken since, and not found", status(404), failed_at(9), 10, false, Blame::Event),
        ("one taken since, and it hangs", Failure::TimedOut, failed_at(9), 10, false, Blame::Event),
        ("a rate limit", status(429), failed_at(9), 10, false, Blame::Sink),
        ("a pause", busy, failed_at(9), 10, false, Blame::Hold),
        ("an answer that suspects the event", status(400), Tries::default(), 0, false, Blame::Event),
        ("the same under a hold", status(400), failed_at(0), 5, true, Blame::Hold),
    ] {
        assert_eq!(Blame::of(&failure, &tries, attempted(taken, held)), blame, "{sentence}");
    }
}

/// The delays in seconds after failures of an event, until it is given up.
fn delays(failure: &Failure, blame: Blame, duration: u64) -> Vec<i64> {
    let (mut tries, mut delays) = (Tries::default(), Vec::new());
    let attempted = Attempted { duration: Duration::from_secs(duration), ..attempted(3, false) };
    while delays.len() < 12 {
        match after(failure, blame, tries, &RETRY, attempted) {
            Outcome::Retry { tries: next, due_at } => {
                assert_eq!((next.attempts, next.taken), (tries.attempts + 1, Some(3)));
                delays.push((due_at - NOW) / 1000);
                tries = next;
            }
            Outcome::DeadLetter { failure: why, at } => {
                assert_eq!((why, at), (failure.to_string(), NOW));
                break;
            }
            Outcome::Done | Outcome::Unwanted => unreachable!(),
        }
    }
    delays
}

#[test]
fn three_own_failures_that_suspect_the_event_make_it_a_dead_letter() {
    for failure in [status(400), status(413), Failure::Unfit { problem: "x".into() }] {
        assert_eq!(delays(&failure, Blame::Event, 0), [2, 4], "{failure}");
        assert_eq!(delays(&failure, Blame::Hold, 0), [0; 12], "{failure}");
    }
}

#[test]
fn an_event_whose_own_failures_suspect_the_sink_is_given_up_when_they_have_cost_enough_time() {
    assert_eq!(delays(&status(500), Blame::Event, 0), [2, 4, 8, 16, 20, 20], "after 70 s");
    assert_eq!(delays(&Failure::TimedOut, Blame::Event, 10), [2, 14, 20], "attempts take time, too");
}

#[test]
fn other_failures_are_never_charged() {
    assert_eq!(delays(&status(500), Blame::Sink, 10), [2, 4, 8, 16, 20, 20, 20, 20, 20, 20, 20, 20]);
    assert_eq!(delays(&status(503), Blame::Hold, 10), [0; 12], "the hold decides");
}

proptest! {
    #[test]
    fn a_delay_is_between_half_and_the_whole_of_its_value(jitter in -1.0..2.0, attempts in 0..u32::MAX) {
        let tries = Tries { attempts, ..Tries::default() };
        let attempted = Attempted { jitter, ..attempted(0, false) };
        let Outcome::Retry { due_at, .. } = after(&status(500), Blame::Sink, tries, &RETRY, attempted) else {
            return Err(TestCaseError::fail("a dead letter"));
        };
        let whole = 2_000_i64.saturating_mul(2_i64.saturating_pow(attempts)).min(20_000);
        prop_assert!((whole / 2..=whole).contains(&(due_at - NOW)));
    }

    #[test]
    fn only_own_failures_make_dead_letters(
        failures in proptest::collection::vec((0..3_u8, 300..600_u16, 0..400_u64), 0..300),
    ) {
        let mut tries = Tries::default();
        for (blame, code, seconds) in failures {
            let failure = status(code);
            let blame = match blame {
                0 if failure.suspect() == Suspect::Sink => Blame::Sink,
                1 => Blame::Event,
                _ => Blame::Hold,
            };
            let attempted = Attempted { duration: Duration::from_secs(seconds), ..attempted(0, false) };
            match after(&failure, blame, tries, &RETRY, attempted) {
                Outcome::Retry { tries: next, due_at } => {
                    prop_assert!(due_at - NOW <= i64::from(RETRY.longest_seconds()) * 1000);
                    let charged = next.charged_ms > tries.charged_ms || next.suspicions > tries.suspicions;
                    prop_assert_eq!(charged, blame == Blame::Event);
                    tries = next;
                }
                Outcome::DeadLetter { .. } => {
                    prop_assert_eq!(blame, Blame::Event);
                    prop_assert!(tries.suspicions == 2 || tries.charged_ms + seconds as i64 * 1000 >= 60_000);
                    tries = Tries::default();
                }
                Outcome::Done | Outcome::Unwanted => prop_assert!(false),
            }
        }
    }
}

//! When a sink is held, when it is probed, and how it gets events again.

use proptest::prelude::*;

use super::*;
use crate::clock;

const SECOND: Duration = Duration::from_secs(1);

/// A sink in chosen time.
struct Sink {
    hold: Hold,
    now: Instant,
}

impl Sink {
    fn new() -> Self {
        Sink { hold: Hold::new(), now: clock::monotonic() }
    }

    fn failed(&mut self, position: Position) {
        self.hold.failed(position, None, false, self.now);
    }

    fn pause(&mut self, seconds: u64) {
        self.hold.failed(1, Some(Duration::from_secs(seconds)), false, self.now);
    }

    fn took(&mut self) {
        self.hold.succeeded(self.now);
    }

    /// The delay until the next probe.
    fn delay(&self) -> Duration {
        match self.hold.permit(self.now) {
            Permit::NoneUntil(until) => until - self.now,
            Permit::Places(_) | Permit::Probe | Permit::NoneWhileProbing => Duration::ZERO,
        }
    }

    /// Waits for the next probe, which begins.
    fn probe(&mut self, position: Position) {
        self.now += self.delay();
        assert_eq!(self.hold.permit(self.now), Permit::Probe);
        self.hold.probe(position);
        assert_eq!(self.hold.permit(self.now), Permit::NoneWhileProbing);
    }

    fn held(failures: Position) -> Self {
        let mut sink = Sink::new();
        (1..=failures).for_each(|position| sink.failed(position));
        sink
    }

    fn places(&self) -> usize {
        match self.hold.permit(self.now) {
            Permit::Places(places) => places,
            Permit::Probe | Permit::NoneUntil(_) | Permit::NoneWhileProbing => 0,
        }
    }
}

#[test]
fn five_failures_of_two_events_without_a_success_hold_a_sink() {
    for (sentence, failures, alone, held) in [
        ("five events", vec![1, 2, 3, 4, 5], false, true),
        ("two events", vec![1, 1, 1, 1, 2], false, true),
        ("one event while others wait", vec![1; 9], false, false),
        ("one event, and no other waits", vec![1; 5], true, true),
        ("four", vec![1, 2, 3, 4], false, false),
        ("a success in between", vec![1, 2, 3, 0, 4, 5, 6], false, false),
    ] {
        let mut sink = Sink::new();
        for position in failures {
            match position {
                0 => sink.took(),
                position => sink.hold.failed(position, None, alone, sink.now),
            }
        }
        assert_eq!(sink.hold.is_held(), held, "{sentence}");
    }
}

#[test]
fn each_failed_probe_doubles_the_delay_up_to_a_minute() {
    let mut sink = Sink::held(5);
    let delays: Vec<u64> = (0..8)
        .map(|_| {
            let delay = sink.delay().as_secs();
            sink.probe(7);
            sink.failed(7);
            delay
        })
        .collect();
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
    let status = sink.hold.status(sink.now, 1_000).unwrap();
    assert_eq!(status, SinkHold { cause: HoldCause::Failures, since_time: 1_000 - 183, next_attempt_time: 1_060 });
}

#[test]
fn attempts_that_began_before_a_hold_do_not_lengthen_it_but_can_end_it() {
    let mut sink = Sink::held(8);
    assert_eq!(sink.delay(), SECOND);
    sink.probe(20);
    sink.failed(6);
    assert_eq!(sink.hold.permit(sink.now), Permit::NoneWhileProbing);
    sink.took();
    assert!(!sink.hold.is_held());
}

#[test]
fn after_a_hold_the_places_double_with_each_success() {
    let mut sink = Sink::held(5);
    sink.probe(9);
    sink.took();
    let places: Vec<usize> = (0..5)
        .map(|_| {
            let places = sink.places();
            sink.took();
            places
        })
        .collect();
    assert_eq!(places, [1, 2, 4, 8, 8]);
}

#[test]
fn a_pause_that_the_sink_asks_for_holds_it_at_once_and_then_it_gets_one_event_at_a_time() {
    let mut sink = Sink::new();
    sink.pause(5);
    assert_eq!(sink.delay(), 5 * SECOND);
    sink.took();
    assert_eq!(sink.delay(), 5 * SECOND, "an event that was sent before the pause");
    sink.now += SECOND;
    sink.pause(2);
    assert_eq!(sink.delay(), 4 * SECOND, "a pause is never shortened");
    sink.pause(10);
    assert_eq!(sink.delay(), 10 * SECOND);
    sink.probe(3);
    sink.took();
    let mut places = Vec::new();
    for _ in 0..24 {
        places.push(sink.places());
        sink.took();
    }
    assert_eq!(places, [vec![1; 8], vec![2; 8], vec![4; 8]].concat());
    assert_eq!(sink.places(), PLACES);
}

#[test]
fn a_pause_lasts_from_a_second_to_an_hour() {
    for (asked, held) in [(0, 1), (1, 1), (3600, 3600), (1 << 40, 3600)] {
        let mut sink = Sink::new();
        sink.pause(asked);
        assert_eq!(sink.delay().as_secs(), held, "{asked}");
    }
}

#[test]
fn a_probe_that_was_not_sent_does_not_count() {
    let mut sink = Sink::held(5);
    sink.probe(9);
    sink.hold.not_sent(9, Duration::ZERO, sink.now);
    assert_eq!(sink.hold.permit(sink.now), Permit::Probe);
    sink.probe(8);
    sink.failed(8);
    assert_eq!(sink.delay(), 2 * SECOND);
}

proptest! {
    #[test]
    fn a_held_sink_is_probed_within_a_minute_or_its_pause(
        results in proptest::collection::vec((0_u8..4, 1..4_i64, 0..100_u64), 0..200),
    ) {
        let mut sink = Sink::new();
        for (result, position, seconds) in results {
            if sink.hold.is_held() {
                prop_assert!(sink.delay() <= Duration::from_secs(100));
                sink.probe(position);
            }
            match result {
                0 => sink.took(),
                1 => sink.pause(seconds),
                _ => sink.failed(position),
            }
            prop_assert_ne!(sink.hold.permit(sink.now), Permit::NoneWhileProbing);
        }
    }
}

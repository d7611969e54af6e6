//! Ordinary clocks, clocks that jump, and restarts.

use super::*;
use crate::clock;

const NOW: i64 = 1_700_000_000;
const DAY: i64 = 86_400;

/// A clock that continues the time `stored`, and the journal's time at each (monotonic second, wall second). Each jump
/// is believed as soon as it can be.
fn check(stored: Option<i64>, readings: &[(u64, i64, i64)]) -> ExpiryClock {
    let began = clock::monotonic();
    let stored = stored.map(|time| Stored { time, in_doubt_since: None });
    let mut clock = ExpiryClock::new(stored, NOW, began);
    for &(second, wall, expected) in readings {
        let at = began + Duration::from_secs(second);
        clock.read(NOW + wall, at);
        if let Some(jump) = clock.jump(at) {
            clock.believe(jump, at);
        }
        let time = clock.read(NOW + wall, at);
        assert_eq!(time.now, NOW + expected, "after {second} seconds of {readings:?}");
        assert!(time.ahead() >= (wall - expected).max(0));
    }
    clock
}

#[test]
fn an_ordinary_clock_is_believed() {
    check(None, &[(0, 0, 0), (10, 10, 10), (20, 3_500, 3_500), (30, 3_510, 3_510)]);
    check(Some(NOW - 60), &[(0, 0, 0)]);
}

#[test]
fn a_step_back_does_not_stop_the_time() {
    check(
        None,
        &[(10, 10, 10), (20, -100, 20), (30, -90, 30), (200, 200, 200), (210, -50 * DAY, 210), (220, 220, 220)],
    );
    check(Some(NOW + DAY), &[(0, 0, DAY), (10, 10, DAY + 10)]);
}

#[test]
fn a_clock_that_steps_to_and_fro_does_not_speed_it_up() {
    check(None, &[(10, 3_000, 3_000), (20, 20, 3_010), (30, 3_020, 3_020), (40, 40, 3_030), (50, 3_040, 3_040)]);
}

#[test]
fn a_jump_of_more_than_an_hour_is_believed_after_an_hour() {
    check(None, &[(10, 10, 10), (20, DAY, 20), (3_619, DAY + 3_599, 3_619), (3_620, DAY + 3_600, DAY + 3_600)]);
}

#[test]
fn a_jump_that_is_taken_back_is_never_believed() {
    check(None, &[(10, DAY, 10), (20, 20, 20), (3_600, DAY, 3_600), (3_700, DAY, 3_700)]);
}

#[test]
fn another_jump_must_stand_for_an_hour_itself() {
    check(None, &[(10, DAY, 10), (3_000, 9 * DAY, 3_000), (3_700, 9 * DAY, 3_700), (6_600, 9 * DAY, 9 * DAY)]);
    check(None, &[(10, 9 * DAY, 10), (3_000, 2 * DAY, 3_000), (3_700, 2 * DAY, 3_700), (6_600, 2 * DAY, 2 * DAY)]);
}

#[test]
fn a_restart_does_not_hide_a_jump() {
    check(Some(NOW - 9 * DAY), &[(0, 0, -9 * DAY), (3_599, 3_599, 3_599 - 9 * DAY), (3_600, 3_600, 3_600)]);
}

#[test]
fn a_jump_does_not_age_what_was_stored_while_the_clock_was_in_doubt() {
    let began = clock::monotonic();
    let at = |second| began + Duration::from_secs(second);
    let stored = Stored { time: NOW - 9 * DAY, in_doubt_since: None };
    let mut clock = ExpiryClock::new(Some(stored), NOW, began);
    clock.read(NOW, at(0));
    clock.read(NOW + 1800, at(1800));
    let stored = clock.stored(at(1800));
    assert_eq!(stored, Stored { time: NOW - 9 * DAY + 1800, in_doubt_since: Some(NOW - 9 * DAY) });
    let mut clock = ExpiryClock::new(Some(stored), NOW + 1800, at(1800));
    clock.read(NOW + 1800, at(1800));
    assert_eq!(clock.jump(at(5399)), None);
    clock.read(NOW + 5400, at(5400));
    let jump = clock.jump(at(5400)).unwrap();
    let expected = Jump { since: NOW - 9 * DAY, until: NOW - 9 * DAY + 5400, seconds: 9 * DAY };
    assert_eq!(jump, expected, "the restart meanwhile changes nothing");
    clock.believe(jump, at(5400));
    assert_eq!(clock.stored(at(5400)), Stored { time: NOW + 5400, in_doubt_since: None });
}

#[test]
fn a_process_counts_its_own_time_by_the_monotonic_clock() {
    let began = clock::monotonic();
    let at = |second| began + Duration::from_secs(second);
    let mut clock = ExpiryClock::new(None, 0, began);
    clock.read(7200, at(7200));
    clock.read(NOW, at(7300));
    clock.read(NOW + 3600, at(10_900));
    let jump = clock.jump(at(10_900)).unwrap();
    assert_eq!((jump.since, jump.until), (0, 10_900), "nothing that was stored in 1970 is 56 years old");
}

#[test]
fn a_clock_that_is_right_again_is_in_doubt_no_more() {
    let began = clock::monotonic();
    let mut clock = ExpiryClock::new(Some(Stored { time: NOW, in_doubt_since: None }), 0, began);
    assert_eq!(clock.stored(began).in_doubt_since, Some(NOW));
    clock.read(NOW + 10, began + Duration::from_secs(10));
    assert_eq!(clock.stored(began), Stored { time: NOW, in_doubt_since: None });
}

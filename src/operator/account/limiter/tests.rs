//! Requests that the sliding window allows, and its estimates of when it will.

use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

/// Makes a request that is answered at once, if the limiter allows it.
fn make(budget: &mut Budget, purpose: Use, second: i64) -> bool {
    let allowed = budget.allows(purpose, 0, at(second));
    if allowed {
        budget.begin(purpose);
        budget.end(purpose, at(second));
    }
    allowed
}

#[test]
fn a_burst_is_allowed_except_the_last_request_which_is_kept_for_urgent_ones() {
    let mut budget = Budget::new(10);
    assert_eq!((0..20).filter(|_| make(&mut budget, Use::Ordinary, 0)).count(), 9);
    assert_eq!((budget.remaining(at(1)), budget.expected(Use::Ordinary, 0, at(1))), (1, at(54)));
    assert!(
        !make(&mut budget, Use::Ordinary, 53) && make(&mut budget, Use::Ordinary, 54),
        "another becomes free at 60"
    );
    assert!(!make(&mut budget, Use::Urgent, 55));
    assert_eq!((budget.next_free(at(55)), budget.expected(Use::Urgent, 0, at(55))), (Some(at(60)), at(60)));
    assert!(make(&mut budget, Use::Urgent, 60));
}

#[test]
fn a_request_counts_from_its_start_until_a_minute_after_its_answer() {
    let mut budget = Budget::new(1);
    budget.begin(Use::Ordinary);
    assert!(!budget.allows(Use::Urgent, 0, at(600)), "Linktree may still count it");
    budget.end(Use::Ordinary, at(600));
    assert_eq!(budget.expected(Use::Ordinary, 0, at(601)), at(660));
    assert!(!make(&mut budget, Use::Ordinary, 659) && make(&mut budget, Use::Ordinary, 660));
}

#[test]
fn lists_use_at_most_half_of_the_window() {
    let mut budget = Budget::new(10);
    assert!((0..9).all(|_| make(&mut budget, Use::List, 0)), "the first list may use as much as ordinary requests");
    let mut budget = Budget::new(10);
    budget.share_with_lists();
    assert_eq!((0..20).filter(|_| make(&mut budget, Use::List, 0)).count(), 5);
    assert_eq!(budget.expected(Use::List, 0, at(1)), at(60));
    assert!(
        make(&mut budget, Use::Ordinary, 1) && !make(&mut budget, Use::List, 59) && make(&mut budget, Use::List, 60)
    );
}

#[test]
fn linktrees_limits_apply_if_they_are_stricter() {
    let mut budget = Budget::new(10);
    budget.close(at(30));
    assert_eq!((budget.remaining(at(0)), budget.expected(Use::Urgent, 0, at(0))), (0, at(30)));
    budget.close(at(20));
    assert!(!make(&mut budget, Use::Urgent, 29), "a shorter Retry-After does not open earlier");
    assert!(make(&mut budget, Use::Urgent, 30));
    budget.at_most(12, at(31));
    assert_eq!(budget.remaining(at(31)), 9, "a number above our own count has no effect");
    budget.at_most(2, at(31));
    assert_eq!((budget.remaining(at(31)), budget.remaining(at(90)), budget.remaining(at(91))), (2, 3, 10));
}

#[test]
fn a_smaller_budget_counts_what_was_used_under_the_larger_one() {
    let mut budget = Budget::new(10);
    (0..3).for_each(|second| assert!(make(&mut budget, Use::Ordinary, second)));
    budget.resize(1);
    assert_eq!((budget.remaining(at(10)), budget.expected(Use::Ordinary, 0, at(10))), (0, at(62)));
    assert!(!make(&mut budget, Use::Ordinary, 61));
    assert!(make(&mut budget, Use::Ordinary, 62));
}

#[test]
fn the_estimate_accounts_for_requests_ahead() {
    let mut budget = Budget::new(10);
    (0..10).for_each(|n| budget.assume(1, Use::Ordinary, at(n * 6)));
    let expected = |ahead| budget.expected(Use::Ordinary, ahead, at(57)).duration_since(at(0)).as_secs();
    assert_eq!([expected(0), expected(1), expected(9), expected(10), expected(995)], [60, 66, 114, 120, 6030]);
}

proptest! {
    /// Linktree counts a request at any moment between its start and its answer. However long the answers take, it
    /// never counts more than the limit in 60 seconds.
    #[test]
    fn no_window_ever_holds_more_than_the_limit(
        limit in 1usize..12,
        requests in prop::collection::vec((0i64..20, 0i64..5, 0usize..3), 1..200),
    ) {
        let (mut budget, mut now, mut started, mut answered) = (Budget::new(limit), 0, Vec::new(), Vec::new());
        for (gap, takes, purpose) in requests {
            now += gap;
            let purpose = [Use::Urgent, Use::Ordinary, Use::List][purpose];
            if budget.allows(purpose, 0, at(now)) {
                started.push(now);
                budget.begin(purpose);
                now += takes;
                budget.end(purpose, at(now));
                answered.push(now);
            } else {
                let expected = budget.expected(purpose, 0, at(now));
                prop_assert!(expected > at(now), "{purpose:?} was throttled with an estimate of now");
            }
        }
        for (started, answered) in started.iter().skip(limit).zip(&answered) {
            prop_assert!(*started >= answered + 60);
        }
    }

    /// An urgent request never waits longer than one pace, however many ordinary requests there are.
    #[test]
    fn an_urgent_request_waits_at_most_one_pace(
        limit in 2usize..12,
        gaps in prop::collection::vec(0i64..15, 1..200),
    ) {
        let (mut budget, mut now) = (Budget::new(limit), 0);
        for gap in gaps {
            now += gap;
            make(&mut budget, Use::Ordinary, now);
            prop_assert!(budget.expected(Use::Urgent, 0, at(now)).duration_since(at(now)) <= budget.pace());
        }
    }
}

//! Order of the queue, and that no caller that retries in time waits forever.

use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn key(namespace: &str, name: usize) -> ObjectKey {
    ObjectKey::new(namespace, name.to_string())
}

/// A waiting caller: its priority, its key, and when it retries.
#[derive(Clone, Debug)]
struct Waiter(Priority, ObjectKey, Timestamp);

/// Lets all callers retry when they must, until none waits or until `until`. Returns the granted requests with their
/// times, in order. Every request is answered at once.
fn run(queue: &mut RequestQueue, mut waiters: Vec<Waiter>, until: i64) -> Vec<(Priority, ObjectKey, i64)> {
    let mut served = Vec::new();
    while let Some(next) =
        (0..waiters.len()).min_by_key(|index| waiters[*index].2).filter(|index| waiters[*index].2 <= at(until))
    {
        let Waiter(priority, caller, now) = waiters[next].clone();
        match queue.acquire(priority, &caller, now) {
            Ok(()) => {
                queue.begin(priority, &caller).unwrap();
                queue.end(priority, now);
                served.push((priority, caller, now.duration_since(at(0)).as_secs()));
                waiters.remove(next);
            }
            Err(Throttled { expected, retry_at }) => {
                assert!(retry_at > now && expected > at(0), "{priority:?}");
                waiters[next].2 = retry_at;
            }
        }
    }
    served
}

fn waiters(priority: Priority, namespace: &str, number: usize, since: i64) -> Vec<Waiter> {
    (0..number).map(|name| Waiter(priority, key(namespace, name), at(since))).collect()
}

#[test]
fn a_higher_priority_goes_first() {
    let mut queue = RequestQueue::new(Budget::new(1));
    let lowest_first = Priority::ALL.into_iter().rev();
    let all = lowest_first.flat_map(|priority| waiters(priority, "a", 2, 0)).collect();
    let mut served: Vec<_> = run(&mut queue, all, 3600).into_iter().map(|(priority, _, _)| priority).collect();
    // The first request found an empty queue.
    assert_eq!(served.remove(0), Priority::CreateAgain);
    let mut sorted = served.clone();
    sorted.sort();
    assert_eq!((served.len(), served), (13, sorted));
}

#[test]
fn many_creates_use_the_full_rate_and_a_reenable_waits_at_most_six_seconds() {
    let mut queue = RequestQueue::new(Budget::new(10));
    let mut all = waiters(Priority::Create, "a", 300, 0);
    all.extend((1..18).map(|n| Waiter(Priority::Reenable, key("b", usize::try_from(n).unwrap()), at(n * 97))));
    let served = run(&mut queue, all, 24 * 3600);
    assert_eq!(served.len(), 317);
    for (_, caller, second) in served.iter().filter(|(priority, _, _)| *priority == Priority::Reenable) {
        let requested = caller.name.parse::<i64>().unwrap() * 97;
        assert!(second - requested <= 6, "requested at {requested}, granted at {second}");
    }
    let last = served.last().unwrap().2;
    assert!(last <= 317 * 6 + 20, "{last}");
}

#[test]
fn namespaces_alternate() {
    let mut queue = RequestQueue::new(Budget::new(1));
    queue.budget_mut().assume(1, Use::Ordinary, at(0));
    let all = [waiters(Priority::Create, "big", 50, 1), waiters(Priority::Create, "small", 3, 2)].concat();
    let served = run(&mut queue, all, 600);
    let first: Vec<_> = served.iter().take(6).map(|(_, caller, _)| caller.namespace.as_str()).collect();
    assert_eq!(first.iter().filter(|namespace| **namespace == "small").count(), 3, "{first:?}");
}

#[test]
fn one_request_at_a_time_from_a_small_namespace_takes_no_more_than_its_share() {
    let mut queue = RequestQueue::new(Budget::new(1));
    let mut waiting = waiters(Priority::Create, "big", 50, 0);
    let (mut small, mut big) = (0, 0);
    for minute in 0..20 {
        waiting.push(Waiter(Priority::Create, key("small", minute), at(i64::try_from(minute).unwrap() * 60)));
        let served = run(&mut queue, waiting.clone(), i64::try_from(minute).unwrap() * 60 + 59);
        waiting.retain(|waiter| !served.iter().any(|(_, caller, _)| *caller == waiter.1));
        // A throttled caller retries in the next minute.
        waiting.iter_mut().for_each(|waiter| waiter.2 = at((i64::try_from(minute).unwrap() + 1) * 60));
        small += served.iter().filter(|(_, caller, _)| caller.namespace == "small").count();
        big += served.iter().filter(|(_, caller, _)| caller.namespace == "big").count();
    }
    assert!(small >= 9 && big >= 9, "small {small}, big {big}");
}

#[test]
fn a_list_does_not_starve_behind_creates() {
    let mut queue = RequestQueue::new(Budget::new(10));
    let mut all = waiters(Priority::Create, "a", 400, 0);
    all.push(Waiter(Priority::List, key("a", 0), at(60)));
    let served = run(&mut queue, all, 24 * 3600);
    let list = served.iter().find(|(priority, _, _)| *priority == Priority::List).unwrap().2;
    assert!((60 + 1800..=60 + 1800 + 12).contains(&list), "{list}");
}

#[test]
fn a_caller_that_does_not_retry_loses_its_place_and_an_unused_grant_counts_as_used() {
    let mut queue = RequestQueue::new(Budget::new(1));
    queue.budget_mut().assume(1, Use::Ordinary, at(0));
    let (first, second) = (key("a", 1), key("a", 2));
    let throttled = queue.acquire(Priority::Create, &first, at(1)).unwrap_err();
    assert_eq!((throttled.expected, throttled.retry_at), (at(60), at(60)));
    assert_eq!(queue.acquire(Priority::Create, &second, at(2)).unwrap_err().expected, at(120));
    assert!(queue.acquire(Priority::Create, &second, at(62)).is_err(), "the first caller may still retry");
    assert_eq!(queue.acquire(Priority::Create, &second, at(70)), Ok(()));
    assert_eq!(queue.acquire(Priority::Create, &second, at(71)), Ok(()), "a grant stays valid until it is used");
    assert!(queue.acquire(Priority::Create, &first, at(130)).is_err());
    assert_eq!(queue.begin(Priority::Create, &second), None, "the grant has expired");
    assert!(
        queue.acquire(Priority::Create, &first, at(189)).is_err()
            && queue.acquire(Priority::Create, &first, at(190)).is_ok()
    );
}

proptest! {
    /// Every caller that retries in time gets a grant, and the window is never exceeded, in any order of arrival.
    #[test]
    fn every_caller_that_retries_is_served(
        limit in 1usize..12,
        arrivals in prop::collection::vec((0i64..300, 0usize..6, 0usize..4), 1..60),
    ) {
        let mut queue = RequestQueue::new(Budget::new(limit));
        let number = arrivals.len();
        let all = arrivals.into_iter().enumerate().map(|(name, (second, priority, namespace))| {
            Waiter(Priority::ALL[priority], key(["a", "b", "c", "d"][namespace], name), at(second))
        });
        let served = run(&mut queue, all.collect(), 100_000);
        prop_assert_eq!(served.len(), number);
        let times: Vec<_> = served.iter().map(|(_, _, second)| *second).collect();
        for (earlier, later) in times.iter().zip(times.iter().skip(limit)) {
            prop_assert!(later - earlier >= 60);
        }
    }
}

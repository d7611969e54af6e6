//! Outages, poison, rate limits and hangs in simulated time.

use std::{cell::Cell, rc::Rc};

use world::{Reply, World, millis, seconds, status};

use super::*;
use crate::receiver::sink::{excerpt::Excerpt, failure::Failure};

#[path = "../../../../tests/support/row.rs"]
mod row;
mod rows;
mod world;

const DAY: Duration = Duration::from_secs(86_400);
const QUICK: Reply = (Attempt::Delivered, Duration::from_millis(5));
const STEADY: Reply = (Attempt::Delivered, Duration::from_millis(25));

/// The failures of a sink that is down, each with its latency.
fn outages() -> Vec<Reply> {
    vec![
        (status(503), millis(5)),
        (Attempt::Failed(Failure::Unreachable), millis(1)),
        (status(401), millis(5)),
        (status(404), millis(5)),
        (status(302), millis(5)),
        (Attempt::Failed(Failure::Malformed), millis(5)),
        (Attempt::Delivered, seconds(60)),
    ]
}

#[test]
fn an_outage_of_three_days_loses_nothing() {
    for (case, reply) in outages().into_iter().enumerate() {
        for waiting in [1, 50, 5_000] {
            let down = reply.clone();
            let mut world = World::new(case as u64, |_, now| if now < 3 * DAY { down.clone() } else { QUICK });
            world.arrive(waiting);
            world.run(3 * DAY);
            assert!(world.dead().is_empty(), "{reply:?} {waiting}");
            assert!(world.is_held() && world.sent < 4_600, "{reply:?} {waiting}: {}", world.sent);
            world.run_until(seconds(70), |world| world.waiting() == 0);
            assert_eq!((world.waiting(), world.dead()), (0, vec![]), "{reply:?} {waiting}");
            assert!(world.taken.len() as i64 == waiting && world.taken.values().all(|times| *times == 1));
        }
    }
}

#[test]
fn an_outage_with_crashes_and_a_leaping_clock_loses_nothing() {
    const YEAR: i64 = 365 * 86_400_000;
    for (case, reply) in outages().into_iter().enumerate() {
        let down = reply.clone();
        let mut world = World::new(case as u64, |_, now| if now < DAY { down.clone() } else { QUICK });
        for step in 0..24 {
            world.arrive(20);
            world.run(seconds(3600));
            world.ahead_ms = [0, YEAR, -YEAR, 10 * YEAR, -3_600_000, 86_400_000][step % 6];
            if step % 2 == 0 {
                world.crash();
            }
        }
        world.run_until(seconds(400), |world| world.waiting() == 0);
        assert_eq!((world.waiting(), world.dead(), world.taken.len()), (0, vec![], 480), "{reply:?}");
    }
}

/// How many of the good events a sink takes in a minute whose first `poison` events get this answer.
fn good_in_a_minute(poison: Position, reply: &Reply, good: &Reply) -> (usize, Vec<Position>) {
    let mut world = World::new(7, |event, _| if event <= poison { reply.clone() } else { good.clone() });
    world.arrive(200_000);
    world.run(seconds(60));
    (world.taken.len(), world.dead())
}

#[test]
fn poison_costs_good_events_a_tenth_at_most() {
    let (best, _) = good_in_a_minute(0, &STEADY, &STEADY);
    assert!(best > 18_000, "{best}");
    for poison in [1, 20, 50] {
        for (reply, dies) in [
            ((status(400), millis(5)), true),
            ((status(413), millis(5)), true),
            ((status(500), millis(5)), false),
            ((status(404), millis(5)), false),
            ((Attempt::Delivered, seconds(60)), false),
        ] {
            let (good, dead) = good_in_a_minute(poison, &reply, &STEADY);
            // Attempts that hang keep their places for a moment before they leave them.
            let share = if reply.1 > seconds(10) && poison == 50 { 80 } else { 90 };
            assert!(good * 100 >= best * share, "{poison} × {reply:?}: {good} of {best}");
            assert_eq!(dead.len() as i64, if dies { poison } else { 0 }, "{poison} × {reply:?}");
        }
    }
}

#[test]
fn poison_is_given_up_after_its_time_and_nothing_else_is() {
    let mut world = World::new(3, |event, _| if event <= 3 { (status(500), millis(5)) } else { QUICK });
    world.policy.retry.give_up_after_seconds = 3600;
    for _ in 0..90 {
        world.arrive(10);
        world.run(seconds(60));
        assert!(world.now < seconds(3500) || !world.dead().is_empty() || world.now < seconds(5000), "{:?}", world.now);
    }
    assert_eq!((world.dead(), world.taken.len(), world.waiting()), (vec![1, 2, 3], 897, 0));
}

#[test]
fn one_percent_that_hangs_leaves_half_of_the_throughput() {
    let (best, _) = good_in_a_minute(0, &QUICK, &QUICK);
    let mut by_event = World::new(7, |event, _| if event % 100 == 0 { (QUICK.0, seconds(60)) } else { QUICK });
    let mut count = 0;
    let mut by_request = World::new(7, |_, _| {
        count += 1;
        if count % 100 == 0 { (QUICK.0, seconds(60)) } else { QUICK }
    });
    by_event.arrive(200_000);
    by_event.run(seconds(60));
    assert!(by_event.taken.len() * 2 >= best, "{} of {best}", by_event.taken.len());
    assert!(by_event.most <= 264, "{}", by_event.most);
    by_request.arrive(200_000);
    by_request.run(seconds(60));
    assert!(by_request.taken.len() * 2 >= best, "{} of {best}", by_request.taken.len());
    assert!(by_request.dead().is_empty() && by_event.dead().is_empty());
}

#[test]
fn a_rate_limit_with_retry_after_is_kept_and_costs_no_event() {
    for (allowed, rest) in [(1, 5), (10, 3), (1, 60)] {
        let (mut second, mut count, mut until, mut early) = (0, 0, Duration::ZERO, 0);
        let mut world = World::new(9, |_, now| {
            let limited = |rest: Duration| {
                let retry_after = Some(seconds(rest.as_secs() + u64::from(rest.subsec_nanos() > 0)));
                (Attempt::Failed(Failure::Status { code: 429, retry_after, answer: Excerpt::default() }), millis(5))
            };
            if now < until {
                early += 1;
                return limited(until - now);
            }
            (second, count) = if now.as_secs() == second { (second, count + 1) } else { (now.as_secs(), 1) };
            if count > allowed {
                until = now + seconds(rest);
                return limited(seconds(rest));
            }
            QUICK
        });
        world.arrive(300);
        world.run_until(DAY, |world| world.waiting() == 0);
        assert_eq!((world.waiting(), world.dead(), world.taken.len()), (0, vec![], 300), "{allowed} {rest}");
        assert!(world.taken.values().all(|times| *times == 1));
        assert_eq!(world.ahead, 0, "{allowed} {rest}: the order of arrival is kept");
        drop(world);
        assert!(early < 12, "{allowed} {rest}: {early}");
    }
}

#[test]
fn a_black_hole_gets_few_attempts_at_the_same_time() {
    let mut world = World::new(1, |_, _| (Attempt::Delivered, seconds(60)));
    world.arrive(10_000);
    world.run(seconds(3600));
    assert!(world.most <= 72, "{}", world.most);
    assert!(world.sent < 250, "{}", world.sent);
}

#[test]
fn events_of_one_resource_stay_in_order() {
    for seed in 0..20 {
        let mut order: [Vec<Position>; 3] = Default::default();
        let mut random = seed * 2 + 1;
        let mut world = World::new(seed, |event, _| {
            random = random * 48_271 % 2_147_483_647;
            let reply = match random % 20 {
                0 => (status(500), millis(5)),
                1 => (Attempt::Delivered, millis(700)),
                2 => (Attempt::Delivered, seconds(60)),
                _ => QUICK,
            };
            if reply.1 < seconds(10) && reply.0 == Attempt::Delivered {
                order[(event % 3) as usize].push(event);
            }
            reply
        })
        .ordered();
        for _ in 0..4 {
            world.arrive(60);
            world.run(seconds(20));
        }
        world.run_until(DAY, |world| world.waiting() == 0);
        assert_eq!((world.waiting(), world.taken.len()), (0, 240), "seed {seed}");
        drop(world);
        for events in order {
            assert!(events.is_sorted(), "seed {seed}: {events:?}");
        }
    }
}

#[test]
fn crashes_lose_nothing_and_repeat_little() {
    for seed in 0..20_u64 {
        for ordered in [false, true] {
            let mut random = seed * 2 + 1;
            let mut world = World::new(seed, |_, _| {
                random = random * 48_271 % 2_147_483_647;
                match random % 50 {
                    0 => (status(500), millis(5)),
                    1 => (Attempt::Delivered, millis(700)),
                    2 => (Attempt::Delivered, seconds(60)),
                    _ => QUICK,
                }
            });
            world = if ordered { world.ordered() } else { world };
            for _ in 0..20 {
                world.arrive(100);
                world.run(millis(137 + seed * 17));
                world.crash();
            }
            world.run_until(DAY, |world| world.waiting() == 0);
            assert_eq!((world.waiting(), world.dead(), world.taken.len()), (0, vec![], 2000), "seed {seed} {ordered}");
            let repeated: u32 = world.taken.values().map(|times| times - 1).sum();
            assert!(repeated < 20 * 300, "seed {seed} {ordered}: {repeated}");
        }
    }
}

#[test]
fn an_event_that_exceeds_the_share_is_sent_alone_and_a_share_limits_what_is_read() {
    // A body has 25 bytes.
    for (share, most) in [(10, 1), (25, 1), (60, 2), (1 << 20, 8)] {
        let outage = seconds(100)..seconds(200);
        let mut world = World::new(5, |_, now| if outage.contains(&now) { (status(503), millis(5)) } else { QUICK });
        world.policy.share = share;
        for _ in 0..6 {
            world.arrive(200);
            world.run(seconds(60));
        }
        assert_eq!((world.waiting(), world.taken.len(), world.dead()), (0, 1200, vec![]), "{share}");
        assert_eq!(world.most, most, "{share}");
        assert_eq!(world.policy.large, None, "the right is given back");
    }
}

#[test]
fn the_result_of_a_probe_is_kept_when_its_event_becomes_a_retry() {
    const NEWEST: Position = 500;
    for (newest, attempts) in [(QUICK, 1), ((status(400), millis(5)), 4)] {
        let sent = Rc::new(Cell::new(0));
        let (counted, reply) = (Rc::clone(&sent), newest.clone());
        let mut world = World::new(5, move |event, now| match event {
            NEWEST => {
                counted.set(counted.get() + 1);
                reply.clone()
            }
            _ if now < seconds(3) => (status(503), millis(5)),
            _ => STEADY,
        });
        world.arrive(NEWEST);
        // The first probe of the hold is the newest event.
        world.run_until(seconds(10), |_| sent.get() > 0);
        world.run(millis(20));
        assert_eq!(sent.get(), 1);
        world.pass_untried();
        world.run(seconds(600));
        assert_eq!((world.waiting(), sent.get()), (0, attempts), "{newest:?}");
    }
}

//! The rows of docs/chaos.md that run in simulated time. `CHAOS=full` (`make chaos-receiver`) runs all cases.

use rand::Rng;

use super::{
    super::*,
    DAY, QUICK, STEADY, good_in_a_minute, outages,
    row::{Row, count},
    world::{Reply, World, millis, seconds, status},
};
use crate::receiver::sink::{excerpt::Excerpt, failure::Failure};

const YEAR_MS: i64 = 365 * 86_400_000;

/// The problem of a world in which all events should have arrived.
fn lost<S: FnMut(Position, Duration) -> Reply>(world: &World<S>, events: usize) -> Option<String> {
    let (waiting, dead, taken) = (world.waiting(), world.dead().len(), world.taken.len());
    let complete = waiting == 0 && dead == 0 && taken == events;
    (!complete).then(|| format!("of {events} events {taken} arrived, {waiting} wait, {dead} are dead letters"))
}

#[test]
fn row_outages() {
    let mut row = Row::new("outage of three days", "row_outages");
    let mut rng = row.rng();
    for case in 0..count(63, 7) {
        let replies = outages();
        let down = replies[case % replies.len()].clone();
        let waiting = [1, 50, 5_000][case / replies.len() % 3];
        let (begins, crashes, leaps) = (seconds(rng.random_range(0..60)), rng.random(), rng.random());
        let seed = rng.random();
        let outage = begins..begins + 3 * DAY;
        let mut world = World::new(seed, |_, now| if outage.contains(&now) { down.clone() } else { QUICK });
        for _ in 0..12 {
            world.arrive(waiting / 12 + Position::from(waiting == 1 && world.now.is_zero()));
            world.run(seconds(rng.random_range(1..43_200)));
            if leaps {
                world.ahead_ms = rng.random_range(-20 * YEAR_MS..20 * YEAR_MS);
            }
            if crashes {
                world.crash();
            }
        }
        world.run((begins + 3 * DAY).saturating_sub(world.now));
        world.run_until(seconds(400), |world| world.waiting() == 0);
        let events = (waiting / 12 * 12 + Position::from(waiting == 1)) as usize;
        let problem = lost(&world, events);
        row.tried(1);
        if let Some(problem) = problem {
            row.violated(format!("case {case}, {waiting} events, crashes {crashes}, leaps {leaps}: {problem}"));
        }
    }
    row.finish();
}

#[test]
fn row_poison() {
    let mut row = Row::new("poison", "row_poison");
    let mut rng = row.rng();
    let (best, _) = good_in_a_minute(0, &STEADY, &STEADY);
    let kinds = [
        (status(400), millis(5)),
        (status(413), millis(5)),
        (status(500), millis(5)),
        (status(404), millis(5)),
        (Attempt::Delivered, seconds(60)),
    ];
    for case in 0..count(30, 5) {
        let reply = &kinds[case % kinds.len()];
        let poison = rng.random_range(1..=50);
        let (good, dead) = good_in_a_minute(poison, reply, &STEADY);
        let rejected = case % kinds.len() < 2;
        let expected = if rejected { poison } else { 0 };
        row.tried(1);
        // Attempts that hang keep their places for a moment before they leave them.
        let share = if reply.1 > seconds(10) && poison > 20 { 8 } else { 9 };
        if good * 10 < best * share {
            row.violated(format!("{poison} × {reply:?}: {good} good events in a minute, {best} without"));
        }
        if dead.len() as Position != expected {
            row.violated(format!("{poison} × {reply:?}: {} dead letters", dead.len()));
        }
    }
    row.finish();
}

#[test]
fn row_rate_limits() {
    let mut row = Row::new("rate limits", "row_rate_limits");
    let mut rng = row.rng();
    for case in 0..count(24, 3) {
        let (allowed, rest) = [(1, 5), (10, 2), (3, 30)][case % 3];
        let seed = rng.random();
        let code = if rng.random() { 429 } else { 503 };
        let (mut second, mut taken, mut until, mut early) = (0, 0, Duration::ZERO, 0);
        let mut world = World::new(seed, |_, now| {
            early += u64::from(now < until);
            (second, taken) = if now.as_secs() == second { (second, taken) } else { (now.as_secs(), 0) };
            if now >= until && taken < allowed {
                taken += 1;
                return QUICK;
            }
            until = if now < until { until } else { now + seconds(rest) };
            let wait = until - now;
            let retry_after = Some(seconds(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
            (Attempt::Failed(Failure::Status { code, retry_after, answer: Excerpt::default() }), millis(5))
        });
        world.arrive(300);
        world.run_until(DAY, |world| world.waiting() == 0);
        let problem = lost(&world, 300);
        drop(world);
        row.tried(1);
        let early = (early > 12).then(|| format!("{early} requests came too early"));
        for problem in problem.into_iter().chain(early) {
            row.violated(format!("{allowed} in a second, {code}: {problem}"));
        }
    }
    row.finish();
}

#[test]
fn row_hangs() {
    let mut row = Row::new("one percent hangs", "row_hangs");
    let mut rng = row.rng();
    let (best, _) = good_in_a_minute(0, &QUICK, &QUICK);
    for case in 0..count(20, 2) {
        let by_event = case % 2 == 0;
        let (seed, offset) = (rng.random(), rng.random_range(0..100));
        let mut requests = 0;
        let mut world = World::new(seed, |event, _| {
            requests += 1;
            let number = if by_event { event } else { requests };
            if number % 100 == offset { (QUICK.0, seconds(60)) } else { QUICK }
        });
        world.arrive(200_000);
        world.run(seconds(60));
        let (taken, dead) = (world.taken.len(), world.dead().len());
        row.tried(1);
        if taken * 2 < best || dead > 0 {
            row.violated(format!("by event {by_event}: {taken} of {best} in a minute, {dead} dead letters"));
        }
    }
    row.finish();
}

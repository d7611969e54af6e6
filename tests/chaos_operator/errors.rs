//! Each call the operator makes, answered with each kind of error: once, a few times, and for a long time.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    crash::undisturbed,
    gate::{Call, Failure, Fate, Peer},
    oracle::{self, End},
    row::{Row, count},
    sample::sample,
    scenario::{self, Scenario},
    time, workers,
    world::World,
};

/// A fault: which call, from which time on it is made, how often.
#[derive(Clone, Debug)]
struct Fault {
    call: Call,
    from: usize,
    times: usize,
    failure: Failure,
    /// It takes effect, and the answer goes wrong.
    applied: bool,
}

/// Status updates and Events that say what failed and when the next attempt is, for each failure; and what was lost is
/// done again.
fn costs(times: usize) -> usize {
    8 + 4 * times
}

fn kinds(call: &Call) -> Vec<(Failure, bool)> {
    let status = |code: u16| (Failure::Status(code, None), false);
    let asking = |after: &str| (Failure::Status(429, Some(after.to_owned())), false);
    let html = Failure::Says("text/html", "<!doctype html><title>Sign in</title>");
    let late = Failure::Late(Duration::from_secs(30));
    let mut kinds = match call.peer {
        Peer::Kubernetes => {
            let mut kinds: Vec<_> = [401, 403, 404, 409, 410, 422, 429, 500, 503, 504].map(status).into();
            kinds.extend([(Failure::Reset, false), (Failure::Cut, false), (html.clone(), false)]);
            kinds
        }
        Peer::Linktree => {
            let mut kinds: Vec<_> = [400, 401, 403, 404, 405, 409, 418, 422, 429, 500, 502, 503].map(status).into();
            kinds.extend(["7", "Thu, 01 Jan 2026 00:05:00 GMT", "99999999999999999999", "-5", "soon"].map(asking));
            kinds.push((Failure::Status(503, Some("20".to_owned())), false));
            kinds.extend(
                ["dns error", "connection refused", "invalid peer certificate"]
                    .map(|why| (Failure::NotConnected(why), false)),
            );
            let says = |text| (Failure::Says("application/json", text), false);
            kinds.extend([
                says("{\"id\":7}"),
                says("[]"),
                says("null"),
                says("{\"data\":{}}"),
                says("{\"id\":\"\"}"),
                says(""),
            ]);
            kinds.extend([
                (html.clone(), false),
                (Failure::Reset, false),
                (Failure::Cut, false),
                (late.clone(), false),
            ]);
            kinds
        }
    };
    if call.is_effect {
        let after = [Failure::Status(504, None), Failure::Status(500, None), Failure::Reset, Failure::Cut, html, late];
        kinds.extend(after.map(|failure| (failure, true)));
    }
    kinds
}

/// How often a call fails in a row. Nine failed attempts to enable a subscription again would take days of doubled waits.
fn in_a_row(call: &Call, nth: usize) -> usize {
    let most = if call.what == "PATCH /v1/webhooks/{id}" { 4 } else { 9 };
    [1, 4, most][nth % 3]
}

/// The calls of an undisturbed run, and how often each is made.
fn calls(scenario: &&Scenario) -> BTreeMap<String, (Call, usize)> {
    time::simulated(async {
        let world = World::start(1, 1);
        oracle::run(&world, scenario, None).await;
        let mut calls = BTreeMap::new();
        for call in world.calls.made() {
            calls.entry(format!("{:?} {}", call.peer, call.what)).or_insert((call, 0)).1 += 1;
        }
        calls
    })
}

fn run(scenario: &Scenario, undisturbed: &End, fault: &Fault) -> End {
    time::simulated(async {
        let world = World::start(1, 1);
        let fault = fault.clone();
        let mut made = 0;
        world.calls.judge(Box::new(move |call| {
            if *call != fault.call {
                return Fate::Passes;
            }
            made += 1;
            let struck = (fault.from..fault.from + fault.times).contains(&(made - 1));
            match (struck, fault.applied) {
                (false, _) => Fate::Passes,
                (true, false) => Fate::Fails(fault.failure.clone()),
                (true, true) => Fate::FailsAfter(fault.failure.clone()),
            }
        }));
        oracle::run(&world, scenario, Some(undisturbed)).await
    })
}

#[test]
fn calls_and_errors() {
    let mut row = Row::new("call x error kind", "calls_and_errors");
    let scenarios = scenario::chosen(&row);
    let ends = workers::map(&scenarios, undisturbed);
    let calls = workers::map(&scenarios, calls);
    let mut cases = Vec::new();
    for ((scenario, (end, _)), calls) in scenarios.iter().zip(&ends).zip(&calls) {
        for (n, (call, times)) in calls.values().enumerate() {
            for (m, (failure, applied)) in kinds(call).into_iter().enumerate() {
                // The first and a later one; once, in a row, and for long.
                for (from, times) in [(0, in_a_row(call, n + m)), (times / 2, 1)] {
                    cases.push((
                        scenario,
                        end,
                        Fault { call: call.clone(), from, times, failure: failure.clone(), applied },
                    ));
                }
            }
        }
    }
    let cases = sample(&row, cases, count(3200, 12));
    row.tried(cases.len());
    for violations in workers::map(&cases, |(scenario, undisturbed, fault)| {
        let end = run(scenario, undisturbed, fault);
        let violations = oracle::compare(&end, undisturbed, costs(fault.times));
        violations.into_iter().map(|what| format!("{} {fault:?}: {what}", scenario.name)).collect::<Vec<_>>()
    }) {
        violations.into_iter().for_each(|what| row.violated(what));
    }
    row.finish();
}

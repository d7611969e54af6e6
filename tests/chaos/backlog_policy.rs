//! Sinks that are down until the journal is full: with `Refuse` nothing that was acknowledged is given up, with
//! `DropOldest` the intake goes on, and what was given up is counted for that sink alone.

use std::time::{Duration, Instant};

use linktree_operator::route::{BacklogPolicy, Route};
use rand::seq::SliceRandom;
use serde_json::Value;

use super::{
    deliveries::{Connection, Delivery},
    process::{self, Process},
    row::{Row, count},
    switched_sinks::SwitchedSinks,
};

const CAPACITY: usize = 12 << 20;
const NAMES: [&str; 2] = ["a", "b"];
/// Consecutive answers 503 after which the journal counts as full.
const FULL_AFTER: usize = 200;
/// How long the sinks may get no event although they are up.
const STALLED: Duration = Duration::from_secs(100);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
struct Case {
    policies: [BacklogPolicy; 2],
    down: [bool; 2],
    body: usize,
    /// Whether the receiver is killed while the journal is full.
    killed: bool,
}

impl Case {
    /// Whether a sink that is down keeps its events.
    fn refuses(self) -> bool {
        self.policies.iter().zip(self.down).any(|(policy, down)| down && *policy == BacklogPolicy::Refuse)
    }
}

#[test]
fn backlog_policy() {
    let mut row = Row::new("backlog policy", "backlog_policy");
    let mut cases = Vec::new();
    let policies = [BacklogPolicy::Refuse, BacklogPolicy::DropOldest];
    for first in policies {
        for second in policies {
            for down in [[true, false], [false, true], [true, true]] {
                for body in [3_000, 60_000, 250_000] {
                    cases.extend([false, true].map(|killed| Case { policies: [first, second], down, body, killed }));
                }
            }
        }
    }
    cases.shuffle(&mut row.rng());
    for case in cases.into_iter().take(count(72, 3)) {
        for what in run(case) {
            row.violated(format!("{case:?}: {what}"));
        }
        row.tried(1);
    }
    row.finish();
}

fn run(case: Case) -> Vec<String> {
    let (directory, sinks, mut wrong) = (process::directory(), SwitchedSinks::start(), Vec::new());
    let mut route = Route { capacity_bytes: CAPACITY as u64, ..process::route(None) };
    for (n, name) in NAMES.into_iter().enumerate() {
        sinks.switch(name, !case.down[n]);
        let mut sink = sinks.sink(name);
        sink.backlog_policy = case.policies[n];
        route.sinks.push(sink);
    }
    process::write_route(directory.path(), &route);
    let mut receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    let wanted = 3 * CAPACITY / case.body;
    let mut acknowledged = send(&receiver, 0..wanted, case.body);
    if case.killed {
        receiver.kill();
        receiver = Process::start(directory.path()).unwrap();
        receiver.until_ready_or_full();
        acknowledged.extend(send(&receiver, wanted..wanted + 20, case.body));
    }
    let all = wanted + if case.killed { 20 } else { 0 };
    if case.refuses() == (acknowledged.len() == all) {
        wrong.push(format!("of {all} deliveries {} were accepted", acknowledged.len()));
    }
    NAMES.iter().for_each(|name| sinks.switch(name, true));
    if !drained(&receiver) {
        wrong.push(format!("events wait although the sinks are up: {}", receiver.status()));
    }
    let status = receiver.status();
    for (n, name) in NAMES.into_iter().enumerate() {
        let state = status["sinks"].as_array().and_then(|sinks| sinks.iter().find(|sink| sink["name"] == name));
        let given_up = state.map_or(0, |state| number(&state["dropped"]) + number(&state["deadLettered"]));
        let sent = sinks.sent(name);
        let missing = acknowledged.iter().filter(|id| !sent.contains_key(*id)).count();
        let may_drop = case.down[n] && case.policies[n] == BacklogPolicy::DropOldest;
        if missing > given_up || (given_up > 0 && !may_drop) {
            wrong.push(format!("{name}: {missing} of {} missing, {given_up} given up", acknowledged.len()));
        }
    }
    if send(&receiver, all..all + 1, case.body).is_empty() {
        wrong.push("a delivery is rejected although nothing waits".to_owned());
    }
    wrong
}

/// Waits until no event waits; false once there is no progress any more. A sink that was down for long is probed once a
/// minute.
fn drained(receiver: &Process) -> bool {
    let backlog = || receiver.status()["backlog"].as_u64().unwrap_or(u64::MAX);
    let (mut fewest, mut since) = (backlog(), Instant::now());
    while fewest > 0 {
        let now = backlog();
        if now < fewest {
            (fewest, since) = (now, Instant::now());
        }
        if since.elapsed() > STALLED {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    true
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// Sends deliveries, each until it is accepted or the journal is full. Returns the ids of the accepted ones.
fn send(receiver: &Process, numbers: std::ops::Range<usize>, body: usize) -> Vec<String> {
    let mut connection = Connection::open(receiver.delivery).unwrap();
    let mut accepted = Vec::new();
    for n in numbers {
        let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"l{n}","title":"{}"}}}}"#, "x".repeat(body));
        let delivery = Delivery { body, ..Delivery::numbered(n) };
        let answered = (0..FULL_AFTER).any(|_| {
            let answer = connection.deliver(&delivery).unwrap();
            // A full journal makes room in rounds; a rejection is delayed by the receiver.
            answer.0 == 200 || {
                std::thread::yield_now();
                false
            }
        });
        if !answered {
            break;
        }
        accepted.push(delivery.id);
    }
    accepted
}

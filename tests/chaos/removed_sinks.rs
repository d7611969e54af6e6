//! Sinks that are renamed or removed with a backlog, return, and kills meanwhile: no event is lost or called done. The
//! events that waited are dead letters of the old name, and are sent again on request, kills or not.

use std::{thread, time::Duration};

use linktree_operator::route::Route;
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};

use super::{
    deliveries::{Connection, Delivery, in_time, page, post, until},
    process::{self, Process},
    row::{Row, count},
    switched_sinks::SwitchedSinks,
};

/// Requests under way when a process is killed, which are sent once more.
const UNDER_WAY: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Remove,
    Rename,
    /// Removed, and back under its name.
    Return,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    change: Change,
    backlog: usize,
    /// Kills after the change, and during the redrive.
    kills: usize,
}

#[test]
fn removed_sinks() {
    let mut row = Row::new("renamed and removed sinks", "removed_sinks");
    let mut rng = row.rng();
    let mut cases = Vec::new();
    for change in [Change::Remove, Change::Rename, Change::Return] {
        for backlog in [1, 40, 1_500] {
            cases.extend([0, 1, 3].map(|kills| Case { change, backlog, kills }));
        }
    }
    cases.shuffle(&mut rng);
    for case in cases.iter().cycle().take(count(54, 3)) {
        for what in run(*case, &mut rng) {
            row.violated(format!("{case:?}: {what}"));
        }
        row.tried(1);
    }
    row.finish();
}

fn run(case: Case, rng: &mut StdRng) -> Vec<String> {
    let Case { change, backlog, kills } = case;
    let (directory, sinks, mut wrong) = (process::directory(), SwitchedSinks::start(), Vec::new());
    let route =
        |names: &[&str]| Route { sinks: names.iter().map(|name| sinks.sink(name)).collect(), ..process::route(None) };
    let change_to = |names: &[&str]| process::write_route(directory.path(), &route(names));
    sinks.switch("old", false);
    change_to(&["old", "other"]);
    let mut receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    let mut connection = Connection::open(receiver.delivery).unwrap();
    for n in 0..backlog {
        assert_eq!(connection.deliver(&Delivery::numbered(n)).unwrap().0, 200);
    }
    let after: &[&str] = if change == Change::Rename { &["new", "other"] } else { &["other"] };
    change_to(after);
    kill(&mut receiver, directory.path(), kills, rng);
    if change == Change::Return {
        sinks.switch("old", true);
        sinks.clear();
        change_to(&["old", "other"]);
        kill(&mut receiver, directory.path(), kills, rng);
    }
    let settled =
        in_time(|| receiver.status()["backlog"] == 0 && removed(&receiver)["backlog"].as_u64().unwrap_or(0) == 0);
    if !settled {
        return vec![format!("events wait: {}", receiver.status())];
    }
    if change != Change::Return && !in_time(|| sinks.sent("other").len() == backlog) {
        wrong.push(format!("the other sink had {} of {backlog}", sinks.sent("other").len()));
    }
    check_journal(&receiver, backlog, change, &sinks, &mut wrong);
    redrive(case, &mut receiver, directory.path(), &sinks, rng, &mut wrong);
    wrong
}

/// Kills and restarts the receiver, at random times.
fn kill(receiver: &mut Process, directory: &std::path::Path, kills: usize, rng: &mut StdRng) {
    for _ in 0..kills {
        thread::sleep(Duration::from_micros(rng.random_range(0..200_000)));
        receiver.kill();
        *receiver = Process::start(directory).expect("the receiver must start after a kill");
    }
    receiver.until_ready();
}

/// The removed sink in the status, or null.
fn removed(receiver: &Process) -> Value {
    let sinks = receiver.status()["removedSinks"].take();
    sinks.as_array().and_then(|sinks| sinks.iter().find(|sink| sink["name"] == "old").cloned()).unwrap_or_default()
}

/// The number of the old sink's dead letters in the status.
fn dead_letters(receiver: &Process) -> usize {
    let status = receiver.status();
    let all = ["sinks", "removedSinks"].into_iter().filter_map(|list| status[list].as_array()).flatten();
    let old = all.filter(|sink| sink["name"] == "old").filter_map(|sink| sink["deadLettered"].as_u64());
    usize::try_from(old.sum::<u64>()).unwrap()
}

/// Checks that each event is a dead letter of the old sink or was sent to it, and that no sink is said to be done with
/// an event that it never had.
fn check_journal(receiver: &Process, backlog: usize, change: Change, sinks: &SwitchedSinks, wrong: &mut Vec<String>) {
    let (sent, dead) = (sinks.sent("old"), dead_letters(receiver));
    let had = if change == Change::Return { sent.len() } else { 0 };
    if had + dead < backlog {
        wrong.push(format!("of {backlog} events {had} arrived and {dead} are dead letters"));
    }
    for n in [0, backlog / 2, backlog - 1] {
        let entry = page(receiver.admin, &format!("/journal/{}", n + 1));
        let state = |name: &str| {
            let sinks = entry["sinks"].as_array().into_iter().flatten();
            sinks.clone().find(|sink| sink["name"] == name).map(|sink| sink["state"].clone())
        };
        let (old, new) = (state("old"), state("new"));
        let arrived = change == Change::Return && sent.contains_key(&format!("d{n}"));
        if old != Some(if arrived { "Done" } else { "DeadLetter" }.into()) || new.is_some() {
            wrong.push(format!("d{n}, arrived {arrived}: old {old:?}, new {new:?}"));
        }
    }
}

/// Sends the dead letters of the old sink again, with kills meanwhile.
fn redrive(
    case: Case,
    receiver: &mut Process,
    directory: &std::path::Path,
    sinks: &SwitchedSinks,
    rng: &mut StdRng,
    wrong: &mut Vec<String>,
) {
    let (target, dead) = (if case.change == Change::Rename { "new" } else { "other" }, dead_letters(receiver));
    if dead == 0 {
        return;
    }
    sinks.clear();
    let request = json!({
        "id": "r1", "select": {"deadLetters": {"sink": "old"}}, "targetSink": target, "maxPerSecond": 250,
    });
    let accepted = |answer: std::io::Result<(u16, String)>| answer.is_ok_and(|(status, _)| status == 202);
    if !accepted(post(receiver.admin, "/redrive", &request)) {
        wrong.push(format!("not accepted: {:?}", post(receiver.admin, "/redrive", &request)));
        return;
    }
    kill(receiver, directory, case.kills, rng);
    // The same request again has no effect.
    if !accepted(post(receiver.admin, "/redrive", &request)) {
        wrong.push("the same request is not accepted again".to_owned());
    }
    if !in_time(|| sinks.sent(target).len() >= dead) {
        wrong.push(format!("of {dead} dead letters {} arrived: {}", sinks.sent(target).len(), receiver.status()));
        return;
    }
    until("nothing waits", || receiver.status()["backlog"] == 0);
    let sent: usize = sinks.sent(target).values().map(|times| *times as usize).sum();
    if sent > dead + case.kills * UNDER_WAY || sinks.replayed(target) != sent {
        wrong.push(format!("{dead} dead letters were sent {sent} times, {} of them marked", sinks.replayed(target)));
    }
    if dead_letters(receiver) != 0 || receiver.status()["lastHandledRedrive"] != "r1" {
        wrong.push(format!("after the redrive: {}", receiver.status()));
    }
}

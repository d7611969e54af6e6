//! How long events, dead letters and identities are kept, in simulated time: outages longer than the retention, clocks
//! that leap ahead and back, restarts. The journal runs in this process.

use std::collections::BTreeSet;

use linktree_operator::receiver::journal::Appended;

use super::{
    row::{Row, count},
    simulated_journal::{Fate, SimulatedJournal},
};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;
const YEAR: i64 = 365 * DAY;

/// The retentions of a case, in seconds, and a leap of the clock.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub retention: i64,
    pub dead_letters: i64,
    pub window: i64,
    leap: i64,
}

impl Case {
    /// By how much an event may be kept longer: its settlement is recorded at intervals.
    pub fn margin(self) -> i64 {
        (self.retention / 1000).clamp(1, 600) + 30
    }

    /// How long an event with this fate is kept.
    fn kept(self, fate: Fate) -> i64 {
        match fate {
            Fate::Done | Fate::Retried => self.retention,
            Fate::DeadLetter => self.dead_letters.max(self.retention),
        }
    }
}

type Scenario = fn(Case, &mut SimulatedJournal, &mut Vec<String>);

const SCENARIOS: [(&str, Scenario); 10] = [
    ("ordinary time", ordinary),
    ("outage longer than the retention", outage),
    ("dead letters of a long outage", late_dead_letters),
    ("ids in ordinary time", identities),
    ("a leap ahead that is taken back", leap_and_back),
    ("a leap ahead that stays", leap_that_stays),
    ("settled during a leap", settled_during_leap),
    ("a clock of 1970 at boot", boot_in_1970),
    ("down for longer than the retention", down),
    ("a clock that was ahead", ahead_at_first),
];

#[test]
fn retention_and_clocks() {
    let mut row = Row::new("retention and clocks", "retention_and_clocks");
    let mut cases = Vec::new();
    for retention in [HOUR, DAY, WEEK, 60 * DAY] {
        for (dead_letters, window) in [(30 * DAY, WEEK), (DAY, HOUR), (retention, 10 * retention)] {
            for leap in [2 * HOUR, 9 * DAY, 10 * retention, 56 * YEAR] {
                let case = Case { retention, dead_letters, window, leap };
                cases.extend(SCENARIOS.map(|scenario| (scenario, case)));
            }
        }
    }
    // Each scenario in turn, with another case each time.
    let step = 1 + SCENARIOS.len() * (1 + usize::try_from(row.seed).unwrap() % 7);
    for n in 0..count(cases.len(), 2 * SCENARIOS.len()) {
        let ((name, scenario), case) = cases[n * step % cases.len()];
        let mut journal = SimulatedJournal::start(case);
        let mut wrong = Vec::new();
        scenario(case, &mut journal, &mut wrong);
        row.tried(1);
        wrong.into_iter().for_each(|what| row.violated(format!("{name}, {case:?}: {what}")));
    }
    row.finish();
}

/// Checks that the events of each fate are there for as long as they are kept from now on, and not longer.
fn check_kept(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    let kept: BTreeSet<i64> = Fate::ALL.map(|fate| case.kept(fate)).into();
    let mut passed = 0;
    for kept in kept {
        let fates = || Fate::ALL.into_iter().filter(|fate| case.kept(*fate) == kept);
        journal.pass(kept - passed - 2 * MINUTE);
        for fate in fates().filter(|fate| !journal.has(*fate)) {
            wrong.push(format!("{fate:?} is gone before its time"));
        }
        passed = kept + case.margin();
        journal.pass(2 * MINUTE + case.margin());
        for fate in fates() {
            if !journal.has_gone(fate) {
                wrong.push(format!("{fate:?} is there {} s after its time", case.margin()));
            }
        }
    }
}

fn ordinary(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.store(&Fate::ALL);
    journal.settle(&Fate::ALL);
    check_kept(case, journal, wrong);
}

fn outage(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.store(&Fate::ALL);
    journal.fail(Fate::Retried);
    for _ in 0..3 {
        journal.pass(case.retention);
    }
    if !Fate::ALL.iter().all(|fate| journal.has(*fate)) {
        wrong.push("a waiting event is gone".to_owned());
    }
    journal.settle(&Fate::ALL);
    check_kept(case, journal, wrong);
}

fn late_dead_letters(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.store(&Fate::ALL);
    journal.fail(Fate::DeadLetter);
    journal.settle(&[Fate::Done, Fate::Retried]);
    journal.pass(2 * case.retention.max(case.dead_letters));
    journal.settle(&[Fate::DeadLetter]);
    let kept = case.kept(Fate::DeadLetter);
    for part in [2, kept - 2 * MINUTE - 2] {
        journal.pass(part);
        if !journal.has(Fate::DeadLetter) {
            wrong.push(format!("a dead letter is gone within {part} s"));
        }
    }
    journal.pass(2 * MINUTE + case.margin() + 2);
    if !journal.has_gone(Fate::DeadLetter) {
        wrong.push("a dead letter is there after its time".to_owned());
    }
}

fn identities(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.store(&Fate::ALL);
    journal.settle(&Fate::ALL);
    journal.pass(case.window - 2 * MINUTE);
    expect(journal, Fate::Done, Appended::Duplicate, wrong);
    journal.pass(3 * MINUTE);
    expect(journal, Fate::Retried, Appended::Stored, wrong);
}

fn leap_and_back(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.store(&Fate::ALL);
    journal.settle(&Fate::ALL);
    for _ in 0..2 {
        journal.leap(case.leap);
        nothing_happens(case, journal, 58 * MINUTE.min(case.retention / 240), wrong);
        journal.leap(-case.leap);
        nothing_happens(case, journal, MINUTE.min(case.retention / 100), wrong);
    }
}

fn leap_that_stays(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.store(&Fate::ALL);
    journal.settle(&Fate::ALL);
    journal.leap(case.leap);
    nothing_happens(case, journal, (59 * MINUTE).min(case.retention / 2), wrong);
    journal.pass(2 * HOUR + case.retention.max(case.dead_letters) + case.margin());
    if !Fate::ALL.iter().all(|fate| journal.has_gone(*fate)) {
        wrong.push("an event is there after its time".to_owned());
    }
}

fn settled_during_leap(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.store(&Fate::ALL);
    journal.leap(case.leap);
    journal.pass(10);
    journal.settle(&Fate::ALL);
    // Until after the leap is believed.
    if case.retention > 2 * HOUR {
        journal.pass(HOUR + 10);
        journal.pass(10);
        if !Fate::ALL.iter().all(|fate| journal.has(*fate)) {
            wrong.push("an event is gone as soon as the leap is believed".to_owned());
        }
        journal.pass(case.retention - HOUR - 5 * MINUTE);
        if !Fate::ALL.iter().all(|fate| journal.has(*fate)) {
            wrong.push("an event is gone before its time".to_owned());
        }
    }
    journal.pass(2 * HOUR + case.retention.max(case.dead_letters) + case.margin());
    if !Fate::ALL.iter().all(|fate| journal.has_gone(*fate)) {
        wrong.push("an event is there after its time".to_owned());
    }
}

fn boot_in_1970(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.restart_at(|journal| journal.leap(-56 * YEAR));
    journal.store(&Fate::ALL);
    journal.settle(&Fate::ALL);
    journal.pass(10);
    journal.leap(56 * YEAR);
    nothing_happens(case, journal, case.retention.min(HOUR) / 2, wrong);
    if case.retention > 2 * HOUR {
        journal.pass(case.retention - HOUR);
        if !Fate::ALL.iter().all(|fate| journal.has(*fate)) {
            wrong.push("an event is gone before its time".to_owned());
        }
    }
}

fn down(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.store(&Fate::ALL);
    journal.settle(&[Fate::Done]);
    journal.fail(Fate::Retried);
    journal.fail(Fate::DeadLetter);
    let long = 2 * case.retention.max(HOUR);
    journal.restart_at(|journal| journal.pass_closed(long));
    journal.pass(10);
    if !Fate::ALL.iter().all(|fate| journal.has(*fate)) {
        wrong.push("an event is gone at once after the start".to_owned());
    }
    journal.settle(&[Fate::Retried, Fate::DeadLetter]);
    journal.pass(case.retention - 5 * MINUTE.min(case.retention / 20));
    for fate in [Fate::Retried, Fate::DeadLetter] {
        if !journal.has(fate) {
            wrong.push(format!("{fate:?}, settled after the start, is gone before its time"));
        }
    }
    journal.pass(2 * HOUR + case.retention.max(case.dead_letters) + case.margin());
    if !Fate::ALL.iter().all(|fate| journal.has_gone(*fate)) {
        wrong.push("an event is there after its time".to_owned());
    }
}

fn ahead_at_first(case: Case, journal: &mut SimulatedJournal, wrong: &mut Vec<String>) {
    journal.restart_at(|journal| journal.leap(case.leap));
    // Believed, whatever it was.
    journal.pass(HOUR + 10);
    journal.store(&Fate::ALL);
    journal.settle(&Fate::ALL);
    journal.pass(10);
    journal.leap(-case.leap);
    nothing_happens(case, journal, (59 * MINUTE).min(case.retention / 2), wrong);
    journal.pass(2 * HOUR + case.retention.max(case.dead_letters) + case.margin());
    if !Fate::ALL.iter().all(|fate| journal.has_gone(*fate)) {
        wrong.push("an event is there after its time".to_owned());
    }
}

/// Checks that no event expires and no id is forgotten, at once and within the next `seconds`.
fn nothing_happens(case: Case, journal: &mut SimulatedJournal, seconds: i64, wrong: &mut Vec<String>) {
    for (part, fate) in [10, seconds / 2, seconds / 2 - 10].into_iter().zip(Fate::ALL) {
        journal.pass(part.max(1));
        if !Fate::ALL.iter().all(|fate| journal.has(*fate)) {
            wrong.push("an event is gone before its time".to_owned());
        }
        if journal.age() < case.window - MINUTE {
            expect(journal, fate, Appended::Duplicate, wrong);
        }
    }
}

fn expect(journal: &mut SimulatedJournal, fate: Fate, expected: Appended, wrong: &mut Vec<String>) {
    let appended = journal.append_again(fate);
    if appended != expected {
        wrong.push(format!("the stored delivery {fate:?} is {appended:?} after {} s", journal.age()));
    }
}

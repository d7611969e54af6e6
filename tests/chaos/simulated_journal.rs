//! A journal in this process, in simulated time: its wall clock and its monotonic clock are set by the test.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use linktree_operator::{
    clock,
    linktree::{
        headers::{DeliveryId, SentAt},
        secret::Secret,
        signature::Signature,
    },
    receiver::{
        ingest::event::Event,
        journal::{
            Appended, Journal, Outcome, Position, Settings, Settlement, inspect::Inspect, sqlite::SqliteJournal,
            tries::Tries,
        },
    },
};
use prometheus_client::metrics::histogram::Histogram;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{process, retention::Case};

const SINK: &str = "sink";
/// The longest time between two of the writer's rounds, in seconds.
const ROUND: i64 = 2;
/// The rounds after each change: each ends before the next write.
const ROUNDS: usize = 3;

/// By how many seconds the clocks are ahead. Shared with the journal's threads; one case runs at a time.
static WALL_AHEAD: AtomicI64 = AtomicI64::new(0);
static MONOTONIC_AHEAD: AtomicI64 = AtomicI64::new(0);

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Accepted at a second attempt.
    Retried,
    DeadLetter,
    /// Accepted at once.
    Done,
}

impl Fate {
    pub const ALL: [Fate; 3] = [Fate::Retried, Fate::DeadLetter, Fate::Done];
}

pub struct SimulatedJournal {
    runtime: Runtime,
    directory: TempDir,
    journal: Option<SqliteJournal>,
    case: Case,
    stored: Vec<(Fate, Position)>,
    /// How many of them were tried.
    tried: usize,
    /// When they were stored, on the monotonic clock.
    since: i64,
    appended: usize,
}

fn wall() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(WALL_AHEAD.load(Ordering::Relaxed))
}

fn monotonic() -> Instant {
    Instant::now() + Duration::from_secs(MONOTONIC_AHEAD.load(Ordering::Relaxed).unsigned_abs())
}

fn now() -> i64 {
    wall().as_second()
}

impl SimulatedJournal {
    pub fn start(case: Case) -> Self {
        clock::set_source(wall);
        clock::set_monotonic_source(monotonic);
        WALL_AHEAD.store(0, Ordering::Relaxed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = process::directory();
        let mut journal = SimulatedJournal {
            runtime,
            directory,
            journal: None,
            case,
            stored: Vec::new(),
            tried: 0,
            since: 0,
            appended: 0,
        };
        journal.open();
        journal
    }

    fn open(&mut self) {
        let mut route = process::route(Some(([127, 0, 0, 1], 1).into()));
        route.retention_seconds = self.case.retention.unsigned_abs();
        route.dead_letter_retention_seconds = self.case.dead_letters.unsigned_abs();
        route.deduplication_window_seconds = self.case.window.unsigned_abs();
        let directory = self.directory.path().join("journal");
        self.journal = Some(self.runtime.block_on(async {
            let journal = SqliteJournal::open(&directory, Histogram::new([1.0])).unwrap();
            journal.configure(Settings::of(&route)).await.unwrap();
            journal
        }));
        self.rounds();
    }

    fn journal(&self) -> &SqliteJournal {
        self.journal.as_ref().unwrap()
    }

    /// Closes the journal, lets `act` change the clocks, and opens it.
    pub fn restart_at(&mut self, act: impl FnOnce(&mut Self)) {
        let journal = self.journal.take().unwrap();
        self.runtime.block_on(journal.close()).unwrap();
        act(self);
        self.open();
    }

    /// Lets time pass on both clocks.
    pub fn pass(&mut self, seconds: i64) {
        // Soon after a settlement, the journal records it.
        let soon = self.case.margin().min(seconds);
        for part in [soon, seconds - soon] {
            self.pass_closed(part);
            self.rounds();
        }
    }

    /// The same without a journal.
    pub fn pass_closed(&mut self, seconds: i64) {
        WALL_AHEAD.fetch_add(seconds, Ordering::Relaxed);
        MONOTONIC_AHEAD.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Moves the wall clock only.
    pub fn leap(&mut self, seconds: i64) {
        WALL_AHEAD.fetch_add(seconds, Ordering::Relaxed);
        if self.journal.is_some() {
            self.rounds();
        }
    }

    /// Lets the journal do its periodic work: the writer's round ends before it takes the next write.
    fn rounds(&mut self) {
        for _ in 0..ROUNDS {
            self.pass_closed(ROUND);
            self.appended += 1;
            self.append(&format!("round{}", self.appended));
        }
    }

    fn append(&self, id: &str) -> Appended {
        let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"{id}"}}}}"#).into_bytes();
        let sent_at = SentAt::from_seconds(now()).unwrap();
        let signature = Signature::sign(&Secret::new("s3cret"), &sent_at, &body);
        let event =
            Event::new(DeliveryId::parse(id.as_bytes()).as_ref(), &signature, &sent_at, "k1", body.into(), now());
        self.runtime.block_on(self.journal().append(event)).unwrap()
    }

    /// Stores an event for each fate.
    pub fn store(&mut self, fates: &[Fate]) {
        self.since = MONOTONIC_AHEAD.load(Ordering::Relaxed);
        for fate in fates {
            self.append(&format!("{fate:?}"));
            let last = *self.entries().last().unwrap();
            self.stored.push((*fate, last));
        }
    }

    /// Sends the event of this fate again. The journal then remembers its id for longer.
    pub fn append_again(&mut self, fate: Fate) -> Appended {
        self.append(&format!("{fate:?}"))
    }

    /// How long ago the events were stored, in seconds.
    pub fn age(&self) -> i64 {
        MONOTONIC_AHEAD.load(Ordering::Relaxed) - self.since
    }

    /// Records a failed attempt for the event of this fate, after those before it.
    pub fn fail(&mut self, fate: Fate) {
        let at = self.stored.iter().position(|(stored, _)| *stored == fate).unwrap();
        while self.tried <= at {
            self.record(
                self.tried,
                Outcome::Retry { tries: Tries { attempts: 1, ..Tries::default() }, due_at: now() * 1000 },
            );
            self.tried += 1;
        }
    }

    /// Settles the events of these fates.
    pub fn settle(&mut self, fates: &[Fate]) {
        for fate in fates {
            let at = self.stored.iter().position(|(stored, _)| stored == fate).unwrap();
            match fate {
                Fate::Done => {
                    if at > 0 {
                        self.fail(self.stored[at - 1].0);
                    }
                    self.tried = self.tried.max(at + 1);
                    self.record(at, Outcome::Done);
                }
                Fate::Retried => {
                    self.fail(*fate);
                    self.record(at, Outcome::Done);
                }
                Fate::DeadLetter => {
                    self.fail(*fate);
                    self.record(at, Outcome::DeadLetter { failure: "answered 400".to_owned(), at: now() * 1000 });
                }
            }
        }
        self.rounds();
    }

    fn record(&self, at: usize, outcome: Outcome) {
        let settlements = vec![Settlement { position: self.stored[at].1, outcome }];
        self.runtime.block_on(self.journal().settle(SINK, settlements)).unwrap();
    }

    /// Whether the event of this fate is there.
    pub fn has(&self, fate: Fate) -> bool {
        let position = self.stored.iter().find(|(stored, _)| *stored == fate).unwrap().1;
        self.entries().contains(&position)
    }

    /// Whether it is gone, at the latest after some more rounds.
    pub fn has_gone(&mut self, fate: Fate) -> bool {
        (0..5).any(|_| {
            let has = self.has(fate);
            if has {
                self.rounds();
            }
            !has
        })
    }

    fn entries(&self) -> Vec<Position> {
        let (mut entries, mut after) = (Vec::new(), 0);
        loop {
            let page = self.runtime.block_on(self.journal().list(after, 500)).unwrap();
            let Some(last) = page.last() else { return entries };
            after = last.position;
            entries.extend(page.iter().map(|entry| entry.position));
        }
    }
}

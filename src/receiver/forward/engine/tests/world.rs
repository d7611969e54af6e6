//! A sink and a journal in simulated time around the [`Engine`]: a copy of the worker's loop without IO.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::*;
use crate::{
    clock,
    linktree::event::EventType,
    receiver::{
        forward::large::Right,
        journal::tries::Tries,
        sink::{excerpt::Excerpt, failure::Failure},
    },
};

/// The answer of a sink, and how long it takes.
pub(super) type Reply = (Attempt, Duration);

/// The state of a sink in a journal.
#[derive(Debug, Default)]
struct Journal {
    /// The number of events that have arrived.
    events: Position,
    position: Position,
    taken: i64,
    retries: BTreeMap<Position, (Tries, i64)>,
    dead: BTreeSet<Position>,
}

/// An operation with its result, which the journal determines when it begins.
enum Done {
    Read(Lane, DueQuery, Due),
    Selected(Probe, Search, Option<Pending>),
    Record(Vec<Settlement>),
}

pub(super) struct World<S> {
    engine: Engine,
    pub(super) policy: Policy,
    large: Right<()>,
    journal: Journal,
    start: Instant,
    /// The time since the start, and by how much the wall clock is ahead.
    pub(super) now: Duration,
    pub(super) ahead_ms: i64,
    attempts: BTreeMap<(Duration, Position), Attempt>,
    operation: Option<(Duration, Done)>,
    /// The answer to an event at a time.
    sink: S,
    /// How often the sink took each event.
    pub(super) taken: BTreeMap<Position, u32>,
    /// The number of attempts.
    pub(super) sent: u64,
    /// The number of events that were sent before their turn.
    pub(super) ahead: u64,
    /// The largest number of attempts at the same time.
    pub(super) most: usize,
    seed: u64,
    ordered: bool,
}

pub(super) fn status(code: u16) -> Attempt {
    Attempt::Failed(Failure::Status { code, retry_after: None, answer: Excerpt::default() })
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl<S: FnMut(Position, Duration) -> Reply> World<S> {
    pub(super) fn new(seed: u64, sink: S) -> Self {
        let start = clock::monotonic();
        let policy = Policy {
            retry: Retry::default(),
            timeout: seconds(10),
            sending: true,
            attempts: usize::MAX,
            share: 1 << 20,
            large: None,
        };
        World {
            engine: Engine::new(None, Hold::new(), start),
            policy,
            large: Right::None,
            journal: Journal::default(),
            start,
            now: Duration::ZERO,
            ahead_ms: 0,
            attempts: BTreeMap::new(),
            operation: None,
            sink,
            taken: BTreeMap::new(),
            sent: 0,
            ahead: 0,
            most: 0,
            seed: seed.wrapping_mul(2).wrapping_add(1),
            ordered: false,
        }
    }

    /// Events of three resources in turn, which are sent in order.
    pub(super) fn ordered(mut self) -> Self {
        self.ordered = true;
        self.engine = Engine::new(Some(ResourceOrder::default()), Hold::new(), self.start);
        self
    }

    /// Lets this number of events arrive.
    pub(super) fn arrive(&mut self, events: Position) {
        self.journal.events += events;
        self.engine.appended(self.moment().instant);
    }

    /// Makes the untried events retries, as the journal does when it gives up events around them.
    pub(super) fn pass_untried(&mut self) {
        let now = self.moment().millis;
        for position in self.journal.position + 1..=self.journal.events {
            self.journal.retries.insert(position, (Tries::default(), now));
        }
        self.journal.position = self.journal.events;
        self.engine.requeued();
    }

    pub(super) fn dead(&self) -> Vec<Position> {
        self.journal.dead.iter().copied().collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.journal.retries.len() + (self.journal.events - self.journal.position) as usize
    }

    pub(super) fn is_held(&self) -> bool {
        self.engine.hold().is_held()
    }

    /// Ends the process without a word and starts the next one.
    pub(super) fn crash(&mut self) {
        self.attempts.clear();
        self.operation = None;
        let order = self.ordered.then(|| {
            let mut order = ResourceOrder::default();
            for (position, (tries, due_at)) in &self.journal.retries {
                order.record(&resource(*position), *position, &Outcome::Retry { tries: *tries, due_at: *due_at });
            }
            order
        });
        self.engine = Engine::new(order, Hold::new(), self.moment().instant);
    }

    fn moment(&self) -> Moment {
        let millis = 1_700_000_000_000 + self.now.as_millis() as i64 + self.ahead_ms;
        Moment { instant: self.start + self.now, millis }
    }

    fn random(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Runs for this long, or until `done`.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        let mut steps = 0_u64;
        while self.now < end && !done(self) {
            let before = self.now;
            let idle = loop {
                match self.engine.step(&self.policy, self.moment()) {
                    Step::Act(act) => self.begin(act),
                    Step::Idle(idle) => break self.now + idle,
                }
            };
            let requested = self.large.follow(self.engine.demand(self.policy.share));
            self.large.grant(());
            self.policy.large = self.large.bytes();
            // The worker wakes once its request is granted.
            let idle = if requested.is_some() { self.now } else { idle };
            let attempt = self.attempts.first_key_value().map(|((at, _), _)| *at);
            let operation = self.operation.as_ref().map(|(at, _)| *at);
            self.now = [Some(end), Some(idle), attempt, operation].into_iter().flatten().min().unwrap().max(before);
            self.finish();
            steps = if self.now > before { 0 } else { steps + 1 };
            assert!(steps < 10_000, "the engine spins at {before:?}: {:?}", self.engine);
        }
    }

    pub(super) fn run(&mut self, limit: Duration) {
        self.run_until(limit, |_| false);
    }

    fn begin(&mut self, act: Act) {
        match act {
            Act::Send(event) => {
                let (attempt, latency) = (self.sink)(event.position, self.now);
                let (attempt, latency) = match latency > self.policy.timeout {
                    true => (Attempt::Failed(Failure::TimedOut), self.policy.timeout),
                    false => (attempt, latency),
                };
                self.sent += 1;
                self.ahead += u64::from(event.position > self.engine.window.cursor());
                let before = self.attempts.insert((self.now + latency, event.position), attempt);
                assert!(before.is_none(), "an event is in flight twice");
                self.most = self.most.max(self.attempts.len());
            }
            Act::Journal(operation) => {
                assert!(self.operation.is_none(), "two operations");
                let done = match operation {
                    Operation::Read(lane, query) => Done::Read(lane, query, self.journal.due(query)),
                    Operation::Probe(probe, search) => {
                        Done::Selected(probe, search, self.journal.probe(probe, search.max_bytes))
                    }
                    Operation::Record(outcomes) => Done::Record(outcomes),
                };
                self.operation = Some((self.now + millis(1), done));
            }
        }
    }

    fn finish(&mut self) {
        while let Some(attempt) = self.attempts.first_entry().filter(|first| first.key().0 <= self.now) {
            let ((_, position), attempt) = attempt.remove_entry();
            if attempt == Attempt::Delivered {
                *self.taken.entry(position).or_default() += 1;
            }
            let (policy, jitter, now) = (self.policy, self.random(), self.moment());
            self.engine.attempted(position, &attempt, &policy, jitter, now);
        }
        let Some((_, operation)) = self.operation.take_if(|(at, _)| *at <= self.now) else { return };
        let now = self.moment();
        match operation {
            Done::Read(lane, query, due) => self.engine.read_done(lane, query, due, now),
            Done::Selected(probe, search, event) => {
                let event = event.map(|event| (event, true));
                if let Some(act) = self.engine.selected(probe, search, event, now) {
                    self.begin(act);
                }
            }
            Done::Record(outcomes) => {
                self.journal.settle(&outcomes);
                self.engine.recorded(&Ok(()), now.instant);
            }
        }
    }
}

pub(super) fn resource(position: Position) -> String {
    format!("l{}", position % 3)
}

impl Journal {
    fn event(&self, position: Position) -> Pending {
        let tries = self.retries.get(&position).map(|(tries, _)| *tries).unwrap_or_default();
        Pending {
            position,
            tries: Tries { taken: tries.taken.map(|taken| taken.min(self.taken)), ..tries },
            id: position.to_string(),
            event_type: EventType::LinkUpdated,
            sent_at: 0,
            body: Bytes::from(format!(r#"{{"data":{{"link_id":"{}"}}}}"#, resource(position))),
            replayed: false,
        }
    }

    fn due(&self, query: DueQuery) -> Due {
        let is_due = |at: i64| at <= query.now || at > query.horizon;
        let mut due: Vec<(i64, Position)> = self
            .retries
            .iter()
            .filter(|(_, (_, at))| is_due(*at))
            .map(|(position, (_, at))| (*at, *position))
            .collect();
        due.sort_unstable();
        let fresh = (self.position.max(query.after) + 1)..=self.events;
        let (mut left, mut needs) = (query.max_bytes, None);
        let mut fits = |event: &Pending| {
            let fits = left.checked_sub(event.body.len());
            needs = needs.or(fits.is_none().then_some(event.body.len()));
            left = fits.unwrap_or(0);
            fits.is_some()
        };
        Due {
            retries: due.iter().take(query.retries).map(|(_, it)| self.event(*it)).take_while(&mut fits).collect(),
            fresh: fresh.take(query.fresh).map(|it| self.event(it)).take_while(&mut fits).collect(),
            next: self.retries.values().map(|(_, at)| *at).filter(|at| !is_due(*at)).min(),
            needs,
            position: self.position,
            taken: self.taken,
            alone: self.retries.len() as Position + self.events - self.position < 2,
        }
    }

    fn probe(&self, probe: Probe, max_bytes: usize) -> Option<Pending> {
        let position = match probe {
            Probe::Newest { before } => {
                let newest = self.events.min(before - 1);
                let retry = || self.retries.range(..before).next_back().map(|(position, _)| *position);
                if newest > self.position { Some(newest) } else { retry() }
            }
            Probe::Fewest { after } => {
                let oldest = self.position.max(after) + 1;
                let retry = || self.retries.iter().min_by_key(|(_, (tries, _))| tries.attempts).map(|(it, _)| *it);
                if oldest <= self.events { Some(oldest) } else { retry() }
            }
        };
        position.map(|position| self.event(position)).filter(|event| event.body.len() <= max_bytes)
    }

    fn settle(&mut self, outcomes: &[Settlement]) {
        for Settlement { position, outcome } in outcomes {
            self.position = self.position.max(*position);
            match outcome {
                Outcome::Retry { tries, due_at } => {
                    self.retries.insert(*position, (*tries, *due_at));
                    continue;
                }
                Outcome::Done => self.taken += 1,
                Outcome::Unwanted => {}
                Outcome::DeadLetter { .. } => {
                    self.dead.insert(*position);
                }
            }
            self.retries.remove(position);
        }
    }
}

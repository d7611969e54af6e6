//! A sliding window over one sink's events: which event is sent next, and what becomes of it. The next attempt begins
//! as soon as a place is free, so that a slow one delays no other: it leaves its place, and goes on in the waiting room.
//! Decides only; no IO, and time is passed in.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use super::{
    attempt::Attempt,
    hold::{Hold, Permit},
    latency::Latency,
    ordering::ResourceOrder,
    queue::{Lane, Queue, Queued},
    record::Record,
    retry::{self, Attempted, Blame},
};
use crate::{
    receiver::journal::{Due, Outcome, Pending, Position, Settlement, query::Probe, tries::Tries},
    route::{Retry, status::HoldCause},
};

/// The size of the waiting room, and the part of it that retries may use: events that hang every time must not keep
/// others out.
const ROOM: usize = 256;
const ROOM_OF_RETRIES: usize = 64;
/// How many attempts may leave their places although the sink has not taken an event since they began: it may be the
/// sink that hangs.
const ROOM_UNPROVEN: usize = 64;
/// An attempt is recorded as a retry that is due this long after its timeout: only a crash repeats it.
const PARKED_MARGIN_MS: i64 = 5_000;
/// The number of outcomes to record at once, and how long an outcome waits for others: a crash then repeats little.
const RECORD_AT: usize = 64;
const RECORD_AFTER: Duration = Duration::from_millis(200);
/// The number of outcomes that are not recorded from which on no event is sent: while the journal fails, it would be
/// sent twice.
const UNRECORDED_MAX: usize = 512;
/// The number of events sent as probes whose turn has not come.
const AHEAD_MAX: usize = 256;
/// How long the next probe waits if an event could not be sent as a probe.
const UNFIT_DELAY: Duration = Duration::from_secs(1);

/// The time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For delays within this process.
    pub(super) instant: Instant,
    /// Milliseconds since the epoch, for the journal.
    pub(super) millis: i64,
}

/// The events of one sink that were read from the journal and have no recorded outcome.
#[derive(Debug)]
pub(super) struct Window {
    hold: Hold,
    latency: Latency,
    /// The number of events that the sink has taken, and when it last took one.
    taken: i64,
    took: Option<Instant>,
    /// Whether at most one event waits for the sink.
    alone: bool,
    queue: Queue,
    in_flight: BTreeMap<Position, InFlight>,
    /// All new events up to it were read.
    cursor: Position,
    /// Results of probes with events after the cursor.
    ahead: BTreeMap<Position, Ahead>,
    /// Which event the next probe is.
    probes: u64,
    witness: Witness,
    record: Record,
}

#[derive(Debug)]
struct InFlight {
    tries: Tries,
    bytes: usize,
    resource: Option<String>,
    lane: Lane,
    started: Instant,
    /// Whether the sink was held when it began.
    held: bool,
    stage: Stage,
}

/// The stages of an attempt in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has a place.
    Quick,
    /// It has a place, but is recorded as a retry, so that later events can be recorded.
    Slow,
    /// It has left its place.
    Room,
}

/// The result of a probe with an event whose turn has not come. A crash forgets it, and the event is sent again.
#[derive(Debug)]
enum Ahead {
    Settled(Outcome),
    Failed(Tries),
}

/// The newest event is sent before one more failure holds the sink: it is not among those that fail, so that some events
/// that the sink rejects do not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Witness {
    Sought,
    Sent(Position),
    Heard,
}

impl Window {
    /// An empty window; `order` has the events that wait, if the sink orders events.
    pub(super) fn new(order: Option<ResourceOrder>, hold: Hold) -> Self {
        Window {
            hold,
            latency: Latency::default(),
            taken: 0,
            took: None,
            alone: true,
            queue: Queue::new(order),
            in_flight: BTreeMap::new(),
            cursor: Position::MIN,
            ahead: BTreeMap::new(),
            probes: 0,
            witness: Witness::Sought,
            record: Record::default(),
        }
    }

    pub(super) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// All new events up to this position were read.
    pub(super) fn cursor(&self) -> Position {
        self.cursor
    }

    /// Adds events that were read from the journal.
    pub(super) fn offer(&mut self, due: Due, now: Moment) {
        let Due { retries, fresh, next: _, needs: _, position, taken, alone } = due;
        self.record.start(position);
        self.cursor = self.cursor.max(position);
        self.record_passed(position, now);
        (self.taken, self.alone) = (self.taken.max(taken), alone);
        for event in fresh {
            if event.position > self.cursor {
                self.cursor = event.position;
                self.offer_fresh(event, now);
            }
        }
        for event in retries {
            if !self.in_flight.contains_key(&event.position) && !self.record.has(event.position) {
                self.queue.push(Lane::Retry, event);
            }
        }
    }

    /// Records the results of probes whose events the journal has passed over up to `position`: there they are retries.
    fn record_passed(&mut self, position: Position, now: Moment) {
        let later = self.ahead.split_off(&position.saturating_add(1));
        for (position, result) in std::mem::replace(&mut self.ahead, later) {
            let outcome = match result {
                Ahead::Settled(outcome) => outcome,
                Ahead::Failed(tries) => Outcome::Retry { tries, due_at: now.millis },
            };
            self.record.add(position, outcome, now.instant);
        }
    }

    /// Forgets events that block others although all retries due at `now` were read, and they were not among them.
    pub(super) fn forget_missing(&mut self, now: i64) {
        let Window { queue, in_flight, record, .. } = self;
        queue.forget_missing(now, |position| in_flight.contains_key(&position) || record.has(position));
    }

    fn offer_fresh(&mut self, mut event: Pending, now: Moment) {
        if let Some(flight) = self.in_flight.get_mut(&event.position) {
            // A probe with it is in flight, and its turn has come: only now it can be recorded.
            flight.stage = Stage::Quick;
            return;
        }
        match self.ahead.remove(&event.position) {
            Some(Ahead::Settled(outcome)) => self.record.add(event.position, outcome, now.instant),
            Some(Ahead::Failed(tries)) => {
                event.tries = tries;
                self.queue.push(Lane::Fresh, event);
            }
            None => self.queue.push(Lane::Fresh, event),
        }
    }

    /// The next event to send, whose attempt begins now.
    pub(super) fn next(&mut self, now: Moment) -> Option<Pending> {
        match self.hold.permit(now.instant) {
            Permit::Places(places) if self.placed() < places => {}
            // A sink with ordering is probed with the events whose turn it is.
            Permit::Probe if self.queue.is_ordered() => {}
            Permit::Places(_) | Permit::Probe | Permit::NoneUntil(_) | Permit::NoneWhileProbing => return None,
        }
        if self.record.len() >= UNRECORDED_MAX || self.awaits_witness() {
            return None;
        }
        let retries = self.in_flight.values().filter(|it| it.lane == Lane::Retry).count() < ROOM_OF_RETRIES;
        loop {
            let in_flight: Vec<&str> = self.in_flight.values().filter_map(|it| it.resource.as_deref()).collect();
            let (lane, queued) = self.queue.pop(retries, &in_flight)?;
            match self.queue.blocked_until(&queued) {
                None => return Some(self.begin(lane, queued, now)),
                Some(until) => {
                    let outcome = Outcome::Retry { tries: queued.event.tries, due_at: until.max(now.millis) };
                    self.settle(queued.event.position, queued.resource.as_deref(), outcome, now);
                }
            }
        }
    }

    /// The event to probe the sink with, if one must be sent now: one that is in the queue, or a selection from the
    /// journal.
    pub(super) fn probe(&self, now: Moment) -> Option<Probe> {
        if self.queue.is_ordered() {
            return None;
        }
        match self.hold.permit(now.instant) {
            Permit::Probe => {}
            Permit::Places(places) => {
                let seeks = self.awaits_witness() && self.witness == Witness::Sought && self.placed() < places;
                return seeks.then_some(Probe::Newest { before: Position::MAX });
            }
            Permit::NoneUntil(_) | Permit::NoneWhileProbing => return None,
        }
        Some(if self.probes.is_multiple_of(2) && self.ahead.len() < AHEAD_MAX {
            Probe::Newest { before: Position::MAX }
        } else {
            Probe::Fewest { after: self.cursor }
        })
    }

    /// The event in the queue that has the fewest attempts, to probe the sink with: the attempt begins now.
    pub(super) fn probe_from_queue(&mut self, probe: Probe, now: Moment) -> Option<Pending> {
        if matches!(probe, Probe::Newest { .. }) {
            return None;
        }
        let (lane, queued) = self.queue.pop_fresh()?;
        self.probes += 1;
        Some(self.begin(lane, queued, now))
    }

    /// Takes an event that the journal selected to probe the sink with: the attempt begins now. `None`, with the reason
    /// to select another one, if the event is in flight or has an outcome.
    pub(super) fn offer_probe(&mut self, event: Pending, probe: Probe, now: Moment) -> Option<Pending> {
        let position = event.position;
        if self.in_flight.contains_key(&position) || self.record.has(position) {
            return None;
        }
        let queued = match self.ahead.entry(position) {
            Entry::Occupied(ahead) => match ahead.get() {
                Ahead::Settled(_) => return None,
                Ahead::Failed(tries) => Queued::unordered(Pending { tries: *tries, ..event }),
            },
            Entry::Vacant(_) => self.queue.remove(position).unwrap_or_else(|| Queued::unordered(event)),
        };
        let lane = if position > self.record.position() { Lane::Fresh } else { Lane::Retry };
        if position > self.cursor && matches!(probe, Probe::Fewest { .. }) {
            self.cursor = position;
            self.ahead.remove(&position);
        }
        self.probes += 1;
        if !self.hold.is_held() {
            self.witness = Witness::Sent(position);
        }
        Some(self.begin(lane, queued, now))
    }

    /// Whether the newest event is sent before any other.
    fn awaits_witness(&self) -> bool {
        let possible = !self.queue.is_ordered() && self.ahead.len() < AHEAD_MAX;
        possible && self.hold.is_doubtful() && self.witness != Witness::Heard
    }

    /// Records that there was no event of the kind that [`Window::probe`] returned.
    pub(super) fn nothing_to_probe(&mut self) {
        self.probes += 1;
        self.witness = Witness::Heard;
    }

    /// Begins an attempt.
    fn begin(&mut self, lane: Lane, Queued { event, resource }: Queued, now: Moment) -> Pending {
        let held = self.hold.is_held();
        self.hold.probe(event.position);
        let bytes = event.body.len();
        let flight =
            InFlight { tries: event.tries, bytes, resource, lane, started: now.instant, held, stage: Stage::Quick };
        self.in_flight.insert(event.position, flight);
        event
    }

    /// Records the result of an attempt. Returns the outcome; `None` if the attempt is not in flight.
    pub(super) fn finish(
        &mut self,
        position: Position,
        attempt: &Attempt,
        retry: &Retry,
        jitter: f64,
        now: Moment,
    ) -> Option<Outcome> {
        let InFlight { tries, resource, started, held, .. } = self.in_flight.remove(&position)?;
        let duration = now.instant.saturating_duration_since(started);
        let was_held = self.hold.is_held();
        if self.witness == Witness::Sent(position) {
            self.witness = Witness::Heard;
        }
        let outcome = match attempt {
            Attempt::Unwanted => {
                self.hold.not_sent(position, Duration::ZERO, now.instant);
                Outcome::Unwanted
            }
            Attempt::Delivered => {
                (self.taken, self.took) = (self.taken.saturating_add(1), Some(now.instant));
                self.hold.succeeded(now.instant);
                self.latency.record(duration);
                Outcome::Done
            }
            Attempt::Failed(failure) => {
                let held = held || self.hold.is_held();
                let attempted = Attempted { taken: self.taken, held, duration, jitter, now: now.millis };
                let blame = Blame::of(failure, &tries, attempted);
                let pause = failure.retry_after();
                // The sink took another event during the attempt: it was not the sink that failed.
                let disproved = pause.is_none() && self.took.is_some_and(|took| took > started);
                if !failure.was_attempted() {
                    self.hold.not_sent(position, UNFIT_DELAY, now.instant);
                } else if blame != Blame::Event && !disproved {
                    let alone = self.alone || self.queue.is_ordered();
                    self.hold.failed(position, pause, alone, now.instant);
                }
                retry::after(failure, blame, tries, retry, attempted)
            }
        };
        if !self.hold.is_doubtful() {
            self.witness = Witness::Sought;
        }
        if self.hold.is_held() && !was_held {
            // The first probe is the newest event, unless the sink asked for a pause: then no event is suspect, and the
            // order of arrival is kept.
            let paused = self.hold.mark().is_some_and(|(cause, _)| cause == HoldCause::RetryAfter);
            self.probes = u64::from(paused);
        }
        self.settle(position, resource.as_deref(), outcome.clone(), now);
        Some(outcome)
    }

    fn settle(&mut self, position: Position, resource: Option<&str>, outcome: Outcome, now: Moment) {
        if position <= self.cursor {
            self.queue.record(resource, position, &outcome);
            self.record.add(position, outcome, now.instant);
            return;
        }
        let result = match outcome {
            Outcome::Retry { tries, .. } => Ahead::Failed(tries),
            Outcome::Done | Outcome::Unwanted | Outcome::DeadLetter { .. } => Ahead::Settled(outcome),
        };
        self.ahead.insert(position, result);
    }

    /// Parks the attempts that are slow: each is recorded as a retry, and leaves its place if there is room.
    pub(super) fn park_slow(&mut self, timeout: Duration, now: Moment) {
        let slow = self.latency.slow();
        let mut room = self.in_flight.values().filter(|it| it.stage == Stage::Room).count();
        let due_at = now.millis.saturating_add(PARKED_MARGIN_MS + i64::try_from(timeout.as_millis()).unwrap_or(0));
        for (position, flight) in &mut self.in_flight {
            if flight.stage == Stage::Room || now.instant.saturating_duration_since(flight.started) < slow {
                continue;
            }
            if flight.stage == Stage::Quick && *position <= self.cursor {
                let outcome = Outcome::Retry { tries: flight.tries, due_at };
                self.queue.record(flight.resource.as_deref(), *position, &outcome);
                self.record.add(*position, outcome, now.instant);
            }
            let proven = self.took.is_some_and(|took| took > flight.started);
            let leaves = room < if proven { ROOM } else { ROOM_UNPROVEN };
            flight.stage = if leaves { Stage::Room } else { Stage::Slow };
            room += usize::from(leaves);
        }
    }

    /// The number of attempts in flight.
    pub(super) fn attempts(&self) -> usize {
        self.in_flight.len()
    }

    /// The number of attempts that have a place.
    fn placed(&self) -> usize {
        self.in_flight.values().filter(|it| it.stage != Stage::Room).count()
    }

    /// The outcomes to record now; `None` while they wait for others.
    pub(super) fn take_outcomes(&mut self, at_once: bool, now: Moment) -> Option<Vec<Settlement>> {
        let quick = self.in_flight.iter().filter(|(_, flight)| flight.stage == Stage::Quick);
        let open = quick.map(|(position, _)| *position).chain(self.queue.first_fresh());
        let end = open.filter(|open| *open > self.record.position() && *open <= self.cursor).min();
        self.record.advance(end.unwrap_or(self.cursor.saturating_add(1)));
        let waited = self.record.since().is_some_and(|since| now.instant >= since + RECORD_AFTER);
        let enough = self.record.ready() >= RECORD_AT || waited || (self.placed() == 0 && self.queue.is_empty());
        if self.record.is_recording() {
            return Some(self.record.take(now.instant));
        }
        if self.record.ready() == 0 && waited {
            self.record.postpone(now.instant);
        }
        (self.record.ready() > 0 && (at_once || enough)).then(|| self.record.take(now.instant))
    }

    /// Gives up the events in flight and in the queue: those before the last event with an outcome are due again.
    pub(super) fn abandon(&mut self, now: Moment) {
        self.hold.abandon(now.instant);
        let in_flight = std::mem::take(&mut self.in_flight).into_iter();
        let left =
            in_flight.filter(|(_, flight)| flight.stage == Stage::Quick).map(|(position, it)| (position, it.tries));
        let left: Vec<_> = left.chain(self.queue.clear()).collect();
        let last = self.record.last();
        for (position, tries) in left {
            if position > self.record.position() && Some(position) < last {
                self.record.add(position, Outcome::Retry { tries, due_at: now.millis }, now.instant);
            }
        }
    }

    /// Records that the journal has the outcomes that were taken last.
    pub(super) fn recorded(&mut self) {
        self.record.recorded();
    }

    /// The bytes of all bodies in memory.
    pub(super) fn bytes(&self) -> usize {
        self.queue.bytes() + self.in_flight.values().map(|flight| flight.bytes).sum::<usize>()
    }

    /// Whether the body of an event in memory exceeds `share`.
    pub(super) fn has_larger(&self, share: usize) -> bool {
        self.queue.has_larger(share) || self.in_flight.values().any(|flight| flight.bytes > share)
    }

    /// The number of events in flight or with an outcome that the journal does not have.
    pub(super) fn unsettled(&self) -> usize {
        self.in_flight.len() + self.record.len()
    }

    /// Whether events of this lane should be read.
    pub(super) fn wants(&self, lane: Lane, now: Moment) -> bool {
        let permitted = match self.hold.permit(now.instant) {
            Permit::Places(_) => true,
            Permit::Probe => self.queue.is_ordered(),
            Permit::NoneUntil(_) | Permit::NoneWhileProbing => false,
        };
        permitted && self.queue.is_low(lane) && self.record.len() < UNRECORDED_MAX
    }

    /// The moment at which something must be done without an event from outside. `busy`: the journal can record nothing
    /// now.
    pub(super) fn wake_at(&self, busy: bool, now: Instant) -> Option<Instant> {
        let slow = self.latency.slow();
        let quick = self.in_flight.values().filter(|it| it.stage == Stage::Quick);
        let parked = quick.map(|it| it.started + slow).min();
        let until = match self.hold {
            Hold::Waiting { until, .. } => Some(until).filter(|until| *until > now),
            Hold::Open { .. } | Hold::Probing { .. } => None,
        };
        let record = self.record.since().filter(|_| !busy).map(|since| since + RECORD_AFTER);
        [parked, until, record].into_iter().flatten().min()
    }
}

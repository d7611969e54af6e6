//! Decides the next act for one sink: send an event, or an operation of the journal. The worker carries it out and
//! reports the result. No IO, and time is passed in, so that days of an outage can be simulated.

use std::time::{Duration, Instant};

use super::{
    attempt::Attempt,
    hold::Hold,
    large::{Demand, Large},
    ordering::ResourceOrder,
    queue::Lane,
    supply::{READ, Read, Room, Supply},
    window::{Moment, Window},
};
use crate::{
    receiver::journal::{
        Due, JournalError, Outcome, Pending, Position, Settlement,
        query::{DueQuery, Probe},
    },
    route::Retry,
};

/// The delay after an error of the journal.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);
/// The longest time between two polls of the journal.
const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// How many of the newest events are tried until one can serve as a probe.
const CANDIDATES: usize = 16;
/// The delay before the journal is searched for a probe again if there was none.
const PROBE_RETRY: Duration = Duration::from_secs(1);

/// The next step of the worker.
#[derive(Debug)]
pub(super) enum Step {
    Act(Act),
    /// Nothing must be done for this long, unless an attempt or an operation ends or an event arrives.
    Idle(Duration),
}

/// An act of the worker.
#[derive(Debug)]
pub(super) enum Act {
    /// Send this event; any number at the same time.
    Send(Pending),
    /// An operation of the journal. They follow each other, so that no read misses an outcome.
    Journal(Operation),
}

/// An operation of the journal.
#[derive(Debug)]
pub(super) enum Operation {
    Read(Lane, DueQuery),
    /// Select an event to probe the sink with.
    Probe(Probe, Search),
    Record(Vec<Settlement>),
}

/// The search for an event to probe a sink with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// The largest body.
    pub(super) max_bytes: usize,
    /// The number of events that could not be sent.
    rejected: usize,
}

/// The part of the sink's configuration that decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) retry: Retry,
    pub(super) timeout: Duration,
    /// Whether events may be sent: forwarding is not paused, and the sink has an address.
    pub(super) sending: bool,
    /// The number of attempts that may be in flight.
    pub(super) attempts: usize,
    /// The bytes of bodies that the sink may have in memory.
    pub(super) share: usize,
    /// The size of an event that may exceed the share now.
    pub(super) large: Option<usize>,
}

/// The state of one sink.
#[derive(Debug)]
pub(super) struct Engine {
    window: Window,
    supply: Supply,
    /// Whether an operation of the journal is in progress.
    busy: bool,
    /// Nothing is done before this moment, after an error of the journal.
    failing_until: Option<Instant>,
    /// Whether the last outcomes could not be recorded: no event is sent meanwhile, it would be sent twice.
    unrecorded: bool,
    polled: Instant,
    /// The number of selections in a row that found no probe, and when the next may begin.
    without_probe: u32,
    probe_after: Instant,
    /// The memory that the next event needs beyond the share.
    wants_large: Option<Large>,
}

impl Engine {
    /// The state before anything is read; `order` has the events that wait, if the sink orders events.
    pub(super) fn new(order: Option<ResourceOrder>, hold: Hold, now: Instant) -> Self {
        Engine {
            window: Window::new(order, hold),
            supply: Supply::new(),
            busy: false,
            failing_until: None,
            unrecorded: false,
            polled: now,
            without_probe: 0,
            probe_after: now,
            wants_large: None,
        }
    }

    pub(super) fn hold(&self) -> &Hold {
        self.window.hold()
    }

    /// The next step at `now`; an act has begun once this returns. Both halves take the same moment: a retry that falls
    /// due between two moments would be too early for an act and too late for a delay.
    pub(super) fn step(&mut self, policy: &Policy, now: Moment) -> Step {
        self.act(policy, now).map_or_else(|| Step::Idle(self.idle(now)), Step::Act)
    }

    fn act(&mut self, policy: &Policy, now: Moment) -> Option<Act> {
        if now.instant >= self.polled + POLL_INTERVAL {
            self.supply.poll();
            self.polled = now.instant;
        }
        if !policy.sending {
            self.wants_large = None;
        }
        self.window.park_slow(policy.timeout, now);
        self.failing_until = self.failing_until.filter(|until| *until > now.instant);
        if self.failing_until.is_some() {
            return None;
        }
        if policy.sending
            && !self.unrecorded
            && self.window.attempts() < policy.attempts
            && let Some(event) = self.window.next(now)
        {
            return Some(Act::Send(event));
        }
        if self.busy {
            return None;
        }
        let act = match self.window.take_outcomes(false, now) {
            Some(outcomes) => Some(self.record(outcomes)),
            None if policy.sending => self.probe(policy, now).or_else(|| self.read(policy, now)),
            None => None,
        };
        self.busy = matches!(act, Some(Act::Journal(_)));
        act
    }

    fn record(&mut self, outcomes: Vec<Settlement>) -> Act {
        for Settlement { outcome, .. } in &outcomes {
            if let Outcome::Retry { due_at, .. } = outcome {
                self.supply.retry(*due_at);
            }
        }
        Act::Journal(Operation::Record(outcomes))
    }

    fn probe(&mut self, policy: &Policy, now: Moment) -> Option<Act> {
        let searched = self.hold().is_held() && now.instant < self.probe_after;
        let probe = self.window.probe(now).filter(|_| !self.unrecorded && !searched)?;
        let queued = self.window.probe_from_queue(probe, now);
        let large = policy.large.filter(|_| !self.window.has_larger(policy.share));
        let max_bytes = large.unwrap_or(0).max(policy.share);
        Some(queued.map_or(Act::Journal(Operation::Probe(probe, Search { max_bytes, rejected: 0 })), Act::Send))
    }

    fn read(&mut self, policy: &Policy, now: Moment) -> Option<Act> {
        let room = Room {
            share: policy.share,
            used: self.window.bytes(),
            large: policy.large.filter(|_| !self.window.has_larger(policy.share)),
        };
        let read = self.supply.read(now.millis, room, |lane| self.window.wants(lane, now));
        // A search for a probe that found none decides.
        if !self.hold().is_held() || self.without_probe < 2 {
            self.wants_large = match read {
                Some(Read::Large(bytes)) => Some(Large { bytes, trusted: self.hold().is_trusted() }),
                Some(Read::Bytes(..)) | None => None,
            };
        }
        let Some(Read::Bytes(lane, max_bytes)) = read else { return None };
        // Retries in flight may be due, and are then selected as well.
        let (retries, fresh) = match lane {
            Lane::Retry => (READ + self.window.unsettled(), 0),
            Lane::Fresh => (0, READ),
        };
        let horizon = now.millis.saturating_add(i64::from(policy.retry.longest_seconds()).saturating_mul(1000));
        self.supply.begin(lane);
        let query = DueQuery { now: now.millis, horizon, after: self.window.cursor(), retries, fresh, max_bytes };
        Some(Act::Journal(Operation::Read(lane, query)))
    }

    fn idle(&self, now: Moment) -> Duration {
        if let Some(until) = self.failing_until {
            return until.saturating_duration_since(now.instant);
        }
        let moments = [self.window.wake_at(self.busy, now.instant), Some(self.polled + POLL_INTERVAL)];
        let probe = Some(self.probe_after).filter(|after| *after > now.instant);
        let delays = moments.into_iter().chain([probe]).flatten().map(|at| at.saturating_duration_since(now.instant));
        let next = self.supply.next_after(now.millis).map(|next| next.saturating_sub(now.millis).unsigned_abs());
        delays.chain(next.map(Duration::from_millis)).min().unwrap_or(POLL_INTERVAL)
    }

    /// The use for a right to exceed the share.
    pub(super) fn demand(&self, share: usize) -> Demand {
        Demand { wanted: self.wants_large, reading: self.busy, exceeding: self.window.has_larger(share) }
    }

    /// Records that an event arrived.
    pub(super) fn appended(&mut self, now: Instant) {
        self.supply.appended();
        self.probe_after = now;
    }

    /// Records that stored events have become retries.
    pub(super) fn requeued(&mut self) {
        self.supply.poll();
    }

    /// Records the result of an attempt. Returns the outcome; `None` if the attempt was given up.
    pub(super) fn attempted(
        &mut self,
        position: Position,
        attempt: &Attempt,
        policy: &Policy,
        jitter: f64,
        now: Moment,
    ) -> Option<Outcome> {
        self.window.finish(position, attempt, &policy.retry, jitter, now)
    }

    /// Records the result of [`Operation::Record`].
    pub(super) fn recorded(&mut self, result: &Result<(), JournalError>, now: Instant) {
        self.busy = false;
        match result {
            // A closed journal takes nothing any more: the receiver ends.
            Ok(()) | Err(JournalError::Closed) => {
                self.window.recorded();
                self.unrecorded = false;
            }
            Err(JournalError::Overloaded | JournalError::Full | JournalError::Failed { .. }) => {
                self.unrecorded = true;
                self.failing_until = Some(now + JOURNAL_RETRY);
            }
        }
    }

    /// Records that the journal could not be read.
    pub(super) fn unread(&mut self, now: Instant) {
        self.busy = false;
        self.supply.poll();
        self.failing_until = Some(now + JOURNAL_RETRY);
    }

    /// Records the result of [`Operation::Read`].
    pub(super) fn read_done(&mut self, lane: Lane, query: DueQuery, due: Due, now: Moment) {
        self.busy = false;
        let read = due.retries.len() + due.fresh.len();
        let more = due.needs.is_some() || read == query.retries + query.fresh;
        self.supply.done(lane, more, due.next, due.needs);
        self.window.offer(due, now);
        if lane == Lane::Retry && !more {
            self.window.forget_missing(query.now);
        }
    }

    /// Records the result of [`Operation::Probe`], an event and whether the sink's filter selects it. Returns the next
    /// act: send it, or select another one.
    pub(super) fn selected(
        &mut self,
        probe: Probe,
        search: Search,
        event: Option<(Pending, bool)>,
        now: Moment,
    ) -> Option<Act> {
        self.busy = false;
        // The hold may have ended meanwhile.
        self.window.probe(now)?;
        let position = event.as_ref().map(|(event, _)| event.position);
        // An event before which all are settled may be settled as unwanted, one before others may not.
        let newest = matches!(probe, Probe::Newest { .. });
        let event = event.filter(|(_, wanted)| *wanted || !newest);
        if let Some(event) = event.and_then(|(event, _)| self.window.offer_probe(event, probe, now)) {
            self.without_probe = 0;
            self.wants_large = None;
            return Some(Act::Send(event));
        }
        match position {
            Some(before) if newest && search.rejected < CANDIDATES => {
                self.busy = true;
                let search = Search { rejected: search.rejected + 1, ..search };
                Some(Act::Journal(Operation::Probe(Probe::Newest { before }, search)))
            }
            Some(_) | None => {
                self.window.nothing_to_probe();
                self.without_probe += 1;
                if self.without_probe > 1 {
                    // All events that wait may exceed the share.
                    let any = Large { bytes: usize::MAX, trusted: false };
                    self.wants_large = (search.max_bytes < usize::MAX).then_some(any);
                    self.probe_after = now.instant + PROBE_RETRY;
                }
                None
            }
        }
    }

    /// Gives up all attempts; their events are due again. Then [`Engine::last_outcomes`] follow.
    pub(super) fn abandon(&mut self, now: Moment) {
        self.window.abandon(now);
    }

    /// The outcomes that are not recorded, without waiting for others.
    pub(super) fn last_outcomes(&mut self, now: Moment) -> Option<Vec<Settlement>> {
        self.window.take_outcomes(true, now)
    }
}

#[cfg(test)]
mod tests;

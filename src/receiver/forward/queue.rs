//! The events that were read from the journal and wait for a place. Pure.

use std::collections::VecDeque;

use super::ordering::ResourceOrder;
use crate::receiver::{
    journal::{Outcome, Pending, Position, tries::Tries},
    sink::cloudevent,
};

/// The number of waiting events of a lane below which more are read.
const LOW: usize = 16;

/// Two lanes take turns, so that neither retries nor new events starve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Retry,
    Fresh,
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) event: Pending,
    /// The resource that the event concerns; `None` if the sink has no ordering.
    pub(super) resource: Option<String>,
}

impl Queued {
    pub(super) fn unordered(event: Pending) -> Self {
        Queued { event, resource: None }
    }
}

/// The waiting events of both lanes.
#[derive(Debug)]
pub(super) struct Queue {
    /// `None` if the sink has no ordering.
    order: Option<ResourceOrder>,
    retries: VecDeque<Queued>,
    fresh: VecDeque<Queued>,
    turn: Lane,
}

impl Queue {
    pub(super) fn new(order: Option<ResourceOrder>) -> Self {
        Queue { order, retries: VecDeque::new(), fresh: VecDeque::new(), turn: Lane::Fresh }
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.retries.is_empty() && self.fresh.is_empty()
    }

    /// The bytes of all bodies.
    pub(super) fn bytes(&self) -> usize {
        self.retries.iter().chain(&self.fresh).map(|queued| queued.event.body.len()).sum()
    }

    /// Whether a body exceeds `share`.
    pub(super) fn has_larger(&self, share: usize) -> bool {
        self.retries.iter().chain(&self.fresh).any(|queued| queued.event.body.len() > share)
    }

    pub(super) fn is_low(&self, lane: Lane) -> bool {
        self.lane(lane).len() < LOW
    }

    fn lane(&self, lane: Lane) -> &VecDeque<Queued> {
        match lane {
            Lane::Retry => &self.retries,
            Lane::Fresh => &self.fresh,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut VecDeque<Queued> {
        match lane {
            Lane::Retry => &mut self.retries,
            Lane::Fresh => &mut self.fresh,
        }
    }

    /// Adds an event, unless it is there already: a new event that another sink's pressure made a retry is in both lanes
    /// of the journal.
    pub(super) fn push(&mut self, lane: Lane, event: Pending) {
        if self.retries.iter().chain(&self.fresh).all(|queued| queued.event.position != event.position) {
            let resource = self.order.as_ref().and_then(|_| cloudevent::resource(&event.body));
            self.lane_mut(lane).push_back(Queued { event, resource });
        }
    }

    /// The position of the first new event.
    pub(super) fn first_fresh(&self) -> Option<Position> {
        self.fresh.front().map(|queued| queued.event.position)
    }

    /// The first new event.
    pub(super) fn pop_fresh(&mut self) -> Option<(Lane, Queued)> {
        self.fresh.pop_front().map(|queued| (Lane::Fresh, queued))
    }

    /// Removes the new events; returns their positions and tries.
    pub(super) fn clear(&mut self) -> Vec<(Position, Tries)> {
        self.retries.clear();
        self.fresh.drain(..).map(|queued| (queued.event.position, queued.event.tries)).collect()
    }

    pub(super) fn remove(&mut self, position: Position) -> Option<Queued> {
        [Lane::Fresh, Lane::Retry].into_iter().find_map(|lane| {
            let lane = self.lane_mut(lane);
            let index = lane.iter().position(|queued| queued.event.position == position)?;
            lane.remove(index)
        })
    }

    /// The next event: the oldest of the lane whose turn it is that no event of its resource blocks, in flight or
    /// waiting before it. `retries`: whether the lane of retries may be used.
    pub(super) fn pop(&mut self, retries: bool, in_flight: &[&str]) -> Option<(Lane, Queued)> {
        let other = match self.turn {
            Lane::Retry => Lane::Fresh,
            Lane::Fresh => Lane::Retry,
        };
        let lanes = [self.turn, other].into_iter().filter(|lane| retries || *lane == Lane::Fresh);
        let (lane, index) = lanes.filter_map(|lane| Some((lane, self.first(lane, in_flight)?))).next()?;
        self.turn = match lane {
            Lane::Retry => Lane::Fresh,
            Lane::Fresh => Lane::Retry,
        };
        let queued = self.lane_mut(lane).remove(index)?;
        Some((lane, queued))
    }

    fn first(&self, lane: Lane, in_flight: &[&str]) -> Option<usize> {
        self.lane(lane).iter().position(|queued| {
            let Some(resource) = queued.resource.as_deref() else { return true };
            let mut waiting = self.retries.iter().chain(&self.fresh);
            let before = |other: &Queued| {
                other.event.position < queued.event.position && other.resource.as_deref() == Some(resource)
            };
            !in_flight.contains(&resource) && !waiting.any(before)
        })
    }

    /// When an event that is not in the queue, and that blocks this one, is due; `None` if none does.
    pub(super) fn blocked_until(&self, queued: &Queued) -> Option<i64> {
        let (order, resource) = (self.order.as_ref()?, queued.resource.as_ref()?);
        order.blocked_until(resource, queued.event.position)
    }

    /// Forgets events that were due at `now` and are neither in the queue nor `known`: they were deleted from the
    /// journal, and would block others for ever.
    pub(super) fn forget_missing(&mut self, now: i64, known: impl Fn(Position) -> bool) {
        let Queue { order, retries, .. } = self;
        if let Some(order) = order {
            let queued = |position| retries.iter().any(|queued| queued.event.position == position);
            order.retain(|position, due_at| due_at > now || queued(position) || known(position));
        }
    }

    /// Records the outcome of an event of this resource.
    pub(super) fn record(&mut self, resource: Option<&str>, position: Position, outcome: &Outcome) {
        if let (Some(order), Some(resource)) = (&mut self.order, resource) {
            order.record(resource, position, outcome);
        }
    }
}

#[cfg(test)]
mod tests;

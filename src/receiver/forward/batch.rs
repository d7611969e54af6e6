//! A batch of due events and their outcomes. Decides which event may be sent next; no IO.

use std::collections::VecDeque;

use super::ordering::ResourceOrder;
use crate::receiver::{
    journal::{Outcome, Pending, Position, Settlement},
    sink::cloudevent,
};

/// Events whose next attempt at one sink is due, oldest first.
#[derive(Debug)]
pub(super) struct Batch {
    waiting: VecDeque<Queued>,
    in_flight: Vec<Queued>,
    settled: Vec<Settlement>,
}

#[derive(Clone, Debug)]
struct Queued {
    event: Pending,
    /// The resource that the event concerns; `None` if the sink has no ordering.
    resource: Option<String>,
}

impl Batch {
    /// A batch of `events` for a sink; `ordered` if the sink orders events by resource.
    pub(super) fn new(mut events: Vec<Pending>, ordered: bool) -> Self {
        events.sort_by_key(|event| event.position);
        let queued =
            |event: Pending| Queued { resource: if ordered { cloudevent::resource(&event.body) } else { None }, event };
        Batch { waiting: events.into_iter().map(queued).collect(), in_flight: Vec::new(), settled: Vec::new() }
    }

    /// The next event to send: the oldest that no earlier event of its resource blocks. An event that is blocked by one
    /// outside this batch is postponed until that one is due, or `now` if it is due already.
    pub(super) fn next(&mut self, order: &mut ResourceOrder, now: i64) -> Option<Pending> {
        let mut index = 0;
        while let Some(queued) = self.waiting.get(index) {
            if self.is_blocked(index, queued) {
                index += 1;
                continue;
            }
            let blocked =
                queued.resource.as_ref().and_then(|resource| order.blocked_until(resource, queued.event.position));
            let queued = self.waiting.remove(index)?;
            let Some(until) = blocked else {
                self.in_flight.push(queued.clone());
                return Some(queued.event);
            };
            let outcome = Outcome::Retry { attempts: queued.event.attempts, due_at: until.max(now) };
            self.record(&queued, outcome, order);
        }
        None
    }

    /// Records the outcome of an event that [`Batch::next`] returned.
    pub(super) fn settle(&mut self, position: Position, outcome: Outcome, order: &mut ResourceOrder) {
        if let Some(index) = self.in_flight.iter().position(|queued| queued.event.position == position) {
            let queued = self.in_flight.swap_remove(index);
            self.record(&queued, outcome, order);
        }
    }

    /// The settlements for the journal. A sink's position advances to the last of them, so an event before it that was
    /// skipped is due again at `now`, with its attempts unchanged.
    pub(super) fn finish(mut self, order: &mut ResourceOrder, now: i64) -> Vec<Settlement> {
        let last = self.settled.iter().map(|settled| settled.position).max();
        let left: Vec<Queued> = self.waiting.drain(..).chain(self.in_flight.drain(..)).collect();
        for queued in left.into_iter().filter(|queued| Some(queued.event.position) < last) {
            let outcome = Outcome::Retry { attempts: queued.event.attempts, due_at: now };
            self.record(&queued, outcome, order);
        }
        self.settled
    }

    /// Whether an event of the same resource is in flight, or waits before it in this batch.
    fn is_blocked(&self, index: usize, queued: &Queued) -> bool {
        let before = self.in_flight.iter().chain(self.waiting.iter().take(index));
        queued.resource.is_some() && before.into_iter().any(|other| other.resource == queued.resource)
    }

    fn record(&mut self, queued: &Queued, outcome: Outcome, order: &mut ResourceOrder) {
        let position = queued.event.position;
        if let Some(resource) = &queued.resource {
            order.record(resource, position, &outcome);
        }
        self.settled.push(Settlement { position, outcome });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::linktree::event::EventType;

    fn event(position: Position, link: &str) -> Pending {
        Pending {
            position,
            attempts: 0,
            id: format!("d{position}"),
            event_type: EventType::LinkUpdated,
            sent_at: 0,
            body: Bytes::from(format!(r#"{{"data":{{"link_id":"{link}"}}}}"#)),
            replayed: false,
        }
    }

    fn batch(ordered: bool) -> Batch {
        Batch::new(vec![event(3, "b"), event(1, "a"), event(2, "a"), event(4, "a")], ordered)
    }

    /// The positions that may be in flight at the same time.
    fn all_next(batch: &mut Batch, order: &mut ResourceOrder) -> Vec<Position> {
        std::iter::from_fn(|| batch.next(order, 10)).map(|event| event.position).collect()
    }

    fn retry(due_at: i64) -> Outcome {
        Outcome::Retry { attempts: 1, due_at }
    }

    #[test]
    fn without_ordering_all_events_may_be_in_flight() {
        assert_eq!(all_next(&mut batch(false), &mut ResourceOrder::default()), [1, 2, 3, 4]);
    }

    #[test]
    fn one_event_per_resource_is_in_flight_in_order() {
        let (mut batch, mut order) = (batch(true), ResourceOrder::default());
        assert_eq!(all_next(&mut batch, &mut order), [1, 3]);
        batch.settle(1, Outcome::Done, &mut order);
        assert_eq!(all_next(&mut batch, &mut order), [2]);
        batch.settle(2, Outcome::Done, &mut order);
        assert_eq!(all_next(&mut batch, &mut order), [4]);
    }

    #[test]
    fn a_failed_event_blocks_only_later_events_of_its_resource() {
        let (mut batch, mut order) = (batch(true), ResourceOrder::default());
        assert_eq!(all_next(&mut batch, &mut order), [1, 3]);
        batch.settle(1, retry(500), &mut order);
        batch.settle(3, Outcome::Done, &mut order);
        assert!(all_next(&mut batch, &mut order).is_empty());
        let put_off = |position| Settlement { position, outcome: Outcome::Retry { attempts: 0, due_at: 500 } };
        let settled = batch.finish(&mut order, 10);
        assert!(settled.contains(&put_off(2)) && settled.contains(&put_off(4)), "{settled:?}");
        // Later they are due again, in any order.
        let mut later = Batch::new(vec![event(4, "a"), event(1, "a"), event(2, "a"), event(9, "a")], true);
        assert_eq!(all_next(&mut later, &mut order), [1]);
        later.settle(1, Outcome::Done, &mut order);
        assert_eq!(all_next(&mut later, &mut order), [2]);
    }

    #[test]
    fn skipped_events_are_due_again() {
        let (mut batch, mut order) = (batch(false), ResourceOrder::default());
        for _ in 0..3 {
            batch.next(&mut order, 10);
        }
        batch.settle(3, Outcome::Done, &mut order);
        let mut settled = batch.finish(&mut order, 10);
        settled.sort_by_key(|settled| settled.position);
        let again = |position| Settlement { position, outcome: Outcome::Retry { attempts: 0, due_at: 10 } };
        assert_eq!(
            settled,
            [again(1), again(2), Settlement { position: 3, outcome: Outcome::Done }],
            "4 is beyond the new position"
        );
        assert_eq!(
            super::Batch::new(vec![event(1, "a")], true).finish(&mut order, 10),
            [],
            "without an attempt the position stays"
        );
    }
}

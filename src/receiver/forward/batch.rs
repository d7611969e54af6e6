//! What was taken from the journal at once, and what became of it. Says which event may go next; no IO.

use std::collections::VecDeque;

use super::ordering::ResourceOrder;
use crate::receiver::{
    journal::{Outcome, Pending, Position, Settlement},
    sink::cloudevent,
};

/// Some due events, oldest first.
#[derive(Debug)]
pub(super) struct Batch {
    waiting: VecDeque<Queued>,
    in_flight: Vec<Queued>,
    settled: Vec<Settlement>,
}

#[derive(Clone, Debug)]
struct Queued {
    event: Pending,
    /// What the event speaks of; `None` where the sink asks for no order.
    resource: Option<String>,
}

impl Batch {
    /// `events` for a sink; `ordered` if it wants those of one resource in order.
    pub(super) fn new(mut events: Vec<Pending>, ordered: bool) -> Self {
        events.sort_by_key(|event| event.position);
        let queued =
            |event: Pending| Queued { resource: if ordered { cloudevent::resource(&event.body) } else { None }, event };
        Batch { waiting: events.into_iter().map(queued).collect(), in_flight: Vec::new(), settled: Vec::new() }
    }

    /// The next event to send: the oldest that need not wait for another one of its resource. One that has to wait for
    /// an event that is not in this batch is put off until that one is due, or `now` if it is.
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

    /// Records what became of an event that [`Batch::next`] gave.
    pub(super) fn settle(&mut self, position: Position, outcome: Outcome, order: &mut ResourceOrder) {
        if let Some(index) = self.in_flight.iter().position(|queued| queued.event.position == position) {
            let queued = self.in_flight.swap_remove(index);
            self.record(&queued, outcome, order);
        }
    }

    /// What is to be recorded in the journal, where a sink's position leaves behind all that came before it: an event
    /// that was passed over is due again at `now`, as if it had not been looked at.
    pub(super) fn finish(mut self, order: &mut ResourceOrder, now: i64) -> Vec<Settlement> {
        let last = self.settled.iter().map(|settled| settled.position).max();
        let left: Vec<Queued> = self.waiting.drain(..).chain(self.in_flight.drain(..)).collect();
        for queued in left.into_iter().filter(|queued| Some(queued.event.position) < last) {
            let outcome = Outcome::Retry { attempts: queued.event.attempts, due_at: now };
            self.record(&queued, outcome, order);
        }
        self.settled
    }

    /// Whether an event of the same resource is under way, or waits before it in this batch.
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
        }
    }

    fn batch(ordered: bool) -> Batch {
        Batch::new(vec![event(3, "b"), event(1, "a"), event(2, "a"), event(4, "a")], ordered)
    }

    /// The positions that may be under way at the same time.
    fn all_next(batch: &mut Batch, order: &mut ResourceOrder) -> Vec<Position> {
        std::iter::from_fn(|| batch.next(order, 10)).map(|event| event.position).collect()
    }

    fn retry(due_at: i64) -> Outcome {
        Outcome::Retry { attempts: 1, due_at }
    }

    #[test]
    fn without_an_order_all_may_go_at_once() {
        assert_eq!(all_next(&mut batch(false), &mut ResourceOrder::default()), [1, 2, 3, 4]);
    }

    #[test]
    fn one_of_each_resource_goes_at_a_time_in_their_order() {
        let (mut batch, mut order) = (batch(true), ResourceOrder::default());
        assert_eq!(all_next(&mut batch, &mut order), [1, 3]);
        batch.settle(1, Outcome::Done, &mut order);
        assert_eq!(all_next(&mut batch, &mut order), [2]);
        batch.settle(2, Outcome::Done, &mut order);
        assert_eq!(all_next(&mut batch, &mut order), [4]);
    }

    #[test]
    fn one_that_fails_holds_back_what_comes_after_it_and_nothing_else() {
        let (mut batch, mut order) = (batch(true), ResourceOrder::default());
        assert_eq!(all_next(&mut batch, &mut order), [1, 3]);
        batch.settle(1, retry(500), &mut order);
        batch.settle(3, Outcome::Done, &mut order);
        assert!(all_next(&mut batch, &mut order).is_empty());
        let put_off = |position| Settlement { position, outcome: Outcome::Retry { attempts: 0, due_at: 500 } };
        let settled = batch.finish(&mut order, 10);
        assert!(settled.contains(&put_off(2)) && settled.contains(&put_off(4)), "{settled:?}");
        // Later they come again, in an order of their own.
        let mut later = Batch::new(vec![event(4, "a"), event(1, "a"), event(2, "a"), event(9, "a")], true);
        assert_eq!(all_next(&mut later, &mut order), [1]);
        later.settle(1, Outcome::Done, &mut order);
        assert_eq!(all_next(&mut later, &mut order), [2]);
    }

    #[test]
    fn what_was_passed_over_is_not_left_behind() {
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
            "4 is still ahead"
        );
        assert_eq!(
            super::Batch::new(vec![event(1, "a")], true).finish(&mut order, 10),
            [],
            "nothing tried, nothing moved"
        );
    }
}

//! Ordering of events per resource (link or profile), for a sink that requests it: no event is sent before an earlier
//! one of its resource that is not settled. Times are milliseconds since the epoch.

use std::collections::{BTreeMap, HashMap};

use crate::receiver::{
    journal::{Journal, JournalError, Outcome, Position},
    sink::cloudevent,
};

/// The number of events to read at once.
const READ: usize = 64;

/// The events that wait for a retry, by resource. Its size is the sink's number of waiting retries.
#[derive(Debug, Default)]
pub(super) struct ResourceOrder(HashMap<String, BTreeMap<Position, i64>>);

impl ResourceOrder {
    /// The events of `sink` that wait in the journal: retries from before a restart.
    pub(super) async fn load(journal: &dyn Journal, sink: &str) -> Result<Self, JournalError> {
        let (mut order, mut after) = (ResourceOrder::default(), Position::MIN);
        loop {
            let waiting = journal.waiting(sink, after, READ).await?;
            let Some((last, _)) = waiting.last() else { return Ok(order) };
            after = last.position;
            for (event, due_at) in &waiting {
                if let Some(resource) = cloudevent::resource(&event.body) {
                    let outcome = Outcome::Retry { tries: event.tries, due_at: *due_at };
                    order.record(&resource, event.position, &outcome);
                }
            }
        }
    }

    /// When the earliest event that blocks `position` is due; `None` if no event blocks it.
    pub(super) fn blocked_until(&self, resource: &str, position: Position) -> Option<i64> {
        let (first, due_at) = self.0.get(resource)?.first_key_value()?;
        (*first < position).then_some(*due_at)
    }

    /// Forgets the events for which `waits` is false of position and due time.
    pub(super) fn retain(&mut self, waits: impl Fn(Position, i64) -> bool) {
        self.0.retain(|_, waiting| {
            waiting.retain(|position, due_at| waits(*position, *due_at));
            !waiting.is_empty()
        });
    }

    /// Records the outcome of an event.
    pub(super) fn record(&mut self, resource: &str, position: Position, outcome: &Outcome) {
        match outcome {
            Outcome::Retry { due_at, .. } => {
                self.0.entry(resource.to_owned()).or_default().insert(position, *due_at);
            }
            Outcome::Done | Outcome::Unwanted | Outcome::DeadLetter { .. } => {
                let Some(waiting) = self.0.get_mut(resource) else { return };
                waiting.remove(&position);
                if waiting.is_empty() {
                    self.0.remove(resource);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::journal::tries::Tries;

    const DONE: Outcome = Outcome::Done;

    fn retry(due_at: i64) -> Outcome {
        Outcome::Retry { tries: Tries::default(), due_at }
    }

    #[test]
    fn an_event_waits_for_earlier_events_of_its_resource() {
        let mut order = ResourceOrder::default();
        order.record("l1", 5, &retry(900));
        assert_eq!(order.blocked_until("l1", 6), Some(900));
        assert_eq!(order.blocked_until("l1", 5), None, "the first goes when it is due");
        assert_eq!(order.blocked_until("l1", 4), None, "an earlier one need not wait for it");
        assert_eq!(order.blocked_until("l2", 6), None);
        order.record("l1", 6, &retry(900));
        order.record("l1", 5, &retry(2_000));
        assert_eq!(order.blocked_until("l1", 6), Some(2_000));
    }

    #[test]
    fn a_settled_or_dead_event_unblocks_the_next_and_is_removed() {
        let mut order = ResourceOrder::default();
        for outcome in [DONE, Outcome::DeadLetter { failure: String::new(), at: 0 }] {
            order.record("l1", 5, &retry(900));
            order.record("l1", 5, &outcome);
            assert_eq!(order.blocked_until("l1", 6), None);
            assert!(order.0.is_empty());
        }
    }
}

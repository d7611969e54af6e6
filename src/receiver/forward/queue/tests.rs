//! Which of the waiting events is next.

use bytes::Bytes;

use super::*;
use crate::{linktree::event::EventType, receiver::journal::tries::Tries};

fn event(position: Position, link: &str) -> Pending {
    Pending {
        position,
        tries: Tries::default(),
        id: format!("d{position}"),
        event_type: EventType::LinkUpdated,
        sent_at: 0,
        body: Bytes::from(format!(r#"{{"data":{{"link_id":"{link}"}}}}"#)),
        replayed: false,
    }
}

/// A queue of these retries and new events.
fn queue(order: Option<ResourceOrder>, retries: &[(Position, &str)], fresh: &[(Position, &str)]) -> Queue {
    let mut queue = Queue::new(order);
    retries.iter().for_each(|(position, link)| queue.push(Lane::Retry, event(*position, link)));
    fresh.iter().for_each(|(position, link)| queue.push(Lane::Fresh, event(*position, link)));
    queue
}

fn all(queue: &mut Queue, in_flight: &[&str]) -> Vec<Position> {
    std::iter::from_fn(|| queue.pop(true, in_flight)).map(|(_, queued)| queued.event.position).collect()
}

#[test]
fn retries_and_new_events_take_turns() {
    let (retries, fresh) = ([(1, "a"), (2, "a"), (3, "a")], [(7, "a"), (8, "a")]);
    assert_eq!(all(&mut queue(None, &retries, &fresh), &[]), [7, 1, 8, 2, 3]);
    let mut no_retries = queue(None, &retries, &fresh);
    assert_eq!(no_retries.pop(false, &[]).unwrap().1.event.position, 7);
    assert_eq!(no_retries.pop(false, &[]).unwrap().1.event.position, 8);
    assert!(no_retries.pop(false, &[]).is_none());
}

#[test]
fn an_event_is_queued_once() {
    assert_eq!(all(&mut queue(None, &[(1, "a"), (1, "a")], &[]), &[]), [1]);
}

#[test]
fn with_ordering_an_event_waits_for_earlier_ones_of_its_resource() {
    let order = || Some(ResourceOrder::default());
    let mut waiting = queue(order(), &[(1, "a")], &[(5, "a"), (6, "b"), (7, "b"), (8, "c")]);
    assert_eq!(waiting.pop(true, &["c"]).unwrap().1.event.position, 6);
    assert_eq!(waiting.pop(true, &["b", "c"]).unwrap().1.event.position, 1);
    assert!(waiting.pop(true, &["a", "b", "c"]).is_none(), "each resource is in flight");
    assert_eq!(waiting.pop(true, &["b", "c"]).unwrap().1.event.position, 5);
    assert_eq!(waiting.pop(true, &["a", "c"]).unwrap().1.event.position, 7);
}

#[test]
fn an_event_is_blocked_by_one_that_waits_for_a_retry() {
    let mut queue = queue(Some(ResourceOrder::default()), &[], &[(5, "a"), (6, "b")]);
    queue.record(Some("a"), 2, &Outcome::Retry { tries: Tries::default(), due_at: 900 });
    let (_, five) = queue.pop(true, &[]).unwrap();
    let (_, six) = queue.pop(true, &[]).unwrap();
    assert_eq!((queue.blocked_until(&five), queue.blocked_until(&six)), (Some(900), None));
    for known in [true, false] {
        queue.forget_missing(899, |_| false);
        queue.forget_missing(900, |position| known && position == 2);
        assert_eq!(queue.blocked_until(&five).is_some(), known, "a deleted event blocks none");
    }
    queue.record(Some("a"), 2, &Outcome::Retry { tries: Tries::default(), due_at: 900 });
    queue.record(Some("a"), 2, &Outcome::Done);
    assert_eq!(queue.blocked_until(&five), None);
}

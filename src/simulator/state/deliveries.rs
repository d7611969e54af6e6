//! Deliveries: their due times, the results of their attempts, and their retries.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;

use super::rejection::Rejection;
use crate::linktree::{event::EventType, headers::SentAt, retry::DELAYS, signature::Signature, wire::SubscriptionId};

/// Maximum number of deliveries that wait or are in flight; at this number further events are rejected.
const PENDING_MAX: usize = 10_000;
/// Maximum number of finished deliveries that are kept; older ones are dropped.
const FINISHED_MAX: usize = 1_000;

/// Timestamp and signature of one request.
pub type Signed = (SentAt, Signature);

/// The result of one request to a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver's status and the beginning of the response body.
    Status { status: u16, body: String },
    /// No response: connection refused or broken, or a timeout.
    None { problem: String },
}

impl Answer {
    /// Whether the receiver answered with a 2xx status (known); every other result counts as a failure.
    #[must_use]
    pub fn is_success(&self) -> bool {
        match self {
            Answer::Status { status, .. } => (200..300).contains(status),
            Answer::None { .. } => false,
        }
    }

    /// Whether the receiver answered with a 5xx status.
    #[must_use]
    pub fn is_server_error(&self) -> bool {
        match self {
            Answer::Status { status, .. } => (500..600).contains(status),
            Answer::None { .. } => false,
        }
    }
}

/// A finished attempt to send a delivery.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When the attempt ended, in simulated time.
    pub at: Timestamp,
    pub signed: Option<Signed>,
    pub answer: Answer,
    /// The responses to additional requests, which a fault such as a duplicate caused.
    pub further: Vec<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    Waiting {
        due: Timestamp,
    },
    Sending,
    Delivered,
    /// All retries failed; the delivery is not sent again.
    GivenUp,
    /// The subscription was disabled or deleted before the delivery succeeded.
    Dropped,
}

#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: String,
    pub subscription: SubscriptionId,
    pub event_type: EventType,
    /// The body, the same bytes in every retry.
    pub body: Bytes,
    pub state: DeliveryState,
    pub attempts: Vec<Attempt>,
}

impl Delivery {
    fn due(&self) -> Option<Timestamp> {
        match self.state {
            DeliveryState::Waiting { due } => Some(due),
            DeliveryState::Sending | DeliveryState::Delivered | DeliveryState::GivenUp | DeliveryState::Dropped => None,
        }
    }

    /// The delivery's state after an attempt that ended at `now` with `answer`.
    fn after(&self, answer: &Answer, now: Timestamp) -> DeliveryState {
        match DELAYS.get(self.attempts.len()) {
            _ if answer.is_success() => DeliveryState::Delivered,
            Some(delay) => DeliveryState::Waiting { due: now + *delay },
            None => DeliveryState::GivenUp,
        }
    }
}

#[derive(Debug, Default)]
pub struct Deliveries {
    /// The deliveries that wait or are in flight, in order of creation.
    pending: Vec<Delivery>,
    finished: VecDeque<Delivery>,
}

impl Deliveries {
    /// # Errors
    /// [`Rejection::Impossible`] if too many deliveries are pending.
    pub fn has_room_for(&self, more: usize) -> Result<(), Rejection> {
        if self.pending.len() + more > PENDING_MAX {
            return Err(Rejection::Impossible("too many deliveries are pending".to_owned()));
        }
        Ok(())
    }

    pub fn add(&mut self, delivery: Delivery) {
        self.pending.push(delivery);
    }

    /// The time when the next attempt of any delivery is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.pending.iter().filter_map(Delivery::due).min()
    }

    /// Starts the delivery that is due first, if it is due at `now` or before. Deliveries with the same due time go in
    /// order of creation.
    pub fn start(&mut self, now: Timestamp) -> Option<&Delivery> {
        let due = self.next_due().filter(|due| *due <= now)?;
        let delivery = self.pending.iter_mut().find(|it| it.due() == Some(due))?;
        delivery.state = DeliveryState::Sending;
        Some(delivery)
    }

    /// Records the result of an attempt of the delivery `id` and schedules a retry if needed. Returns the subscription,
    /// or `None` if the delivery was dropped meanwhile.
    pub fn finish(&mut self, id: &str, attempt: Attempt) -> Option<SubscriptionId> {
        let position = self.pending.iter().position(|it| it.id == id)?;
        let delivery = &mut self.pending[position];
        delivery.state = delivery.after(&attempt.answer, attempt.at);
        delivery.attempts.push(attempt);
        let subscription = delivery.subscription.clone();
        if delivery.due().is_none() {
            let delivery = self.pending.remove(position);
            self.retire(delivery);
        }
        Some(subscription)
    }

    /// Drops the pending deliveries to a subscription. A request in flight cannot be cancelled, but its response has no
    /// effect.
    pub fn drop_for(&mut self, subscription: &SubscriptionId) {
        let dropped = |it: &mut Delivery| it.subscription == *subscription;
        for mut delivery in self.pending.extract_if(.., dropped).collect::<Vec<_>>() {
            delivery.state = DeliveryState::Dropped;
            self.retire(delivery);
        }
    }

    /// The finished deliveries, then the pending ones; each oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Delivery> {
        self.finished.iter().chain(&self.pending)
    }

    fn retire(&mut self, delivery: Delivery) {
        if self.finished.len() >= FINISHED_MAX {
            self.finished.pop_front();
        }
        self.finished.push_back(delivery);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn delivery(id: &str, due: u64) -> Delivery {
        Delivery {
            id: id.into(),
            subscription: SubscriptionId("wh_1".into()),
            event_type: EventType::LinkCreated,
            body: Bytes::new(),
            state: DeliveryState::Waiting { due: at(due) },
            attempts: Vec::new(),
        }
    }

    fn attempt(now: u64, status: u16) -> Attempt {
        let answer = Answer::Status { status, body: String::new() };
        Attempt { at: at(now), signed: None, answer, further: Vec::new() }
    }

    #[test]
    fn five_retries_follow_a_failure_with_the_documented_delays() {
        let mut deliveries = Deliveries::default();
        deliveries.add(delivery("d", 100));
        let mut now = 100;
        for delay in [10, 30, 90, 270, 810] {
            assert!(deliveries.start(at(now - 1)).is_none(), "not before {now}");
            assert!(deliveries.start(at(now)).is_some());
            assert!(deliveries.start(at(now + 5000)).is_none(), "it is in flight");
            // The attempt takes two seconds; the delay counts from its end.
            deliveries.finish("d", attempt(now + 2, 500)).unwrap();
            now += 2 + delay;
            assert_eq!(deliveries.next_due(), Some(at(now)));
        }
        deliveries.start(at(now)).unwrap();
        deliveries.finish("d", attempt(now, 500)).unwrap();
        assert_eq!(deliveries.next_due(), None);
        let last = deliveries.iter().next().unwrap();
        assert_eq!((last.state, last.attempts.len()), (DeliveryState::GivenUp, 6));
    }

    #[test]
    fn any_2xx_is_a_success_and_nothing_else_is() {
        for (status, delivered) in [(200, true), (204, true), (299, true), (302, false), (401, false), (503, false)] {
            let mut deliveries = Deliveries::default();
            deliveries.add(delivery("d", 0));
            deliveries.start(at(0)).unwrap();
            deliveries.finish("d", attempt(0, status)).unwrap();
            assert_eq!(deliveries.next_due().is_none(), delivered, "{status}");
        }
    }

    #[test]
    fn attempts_are_sent_in_the_order_of_their_due_times() {
        let mut deliveries = Deliveries::default();
        for (id, due) in [("late", 20), ("first", 10), ("second", 10)] {
            deliveries.add(delivery(id, due));
        }
        let order: Vec<_> = std::iter::from_fn(|| deliveries.start(at(30)).map(|it| it.id.clone())).collect();
        assert_eq!(order, ["first", "second", "late"]);
    }

    #[test]
    fn the_response_to_a_dropped_delivery_has_no_effect() {
        let mut deliveries = Deliveries::default();
        deliveries.add(delivery("d", 0));
        deliveries.start(at(0)).unwrap();
        deliveries.drop_for(&SubscriptionId("wh_1".into()));
        assert_eq!(deliveries.finish("d", attempt(1, 500)), None);
        assert_eq!(deliveries.iter().next().unwrap().state, DeliveryState::Dropped);
    }
}

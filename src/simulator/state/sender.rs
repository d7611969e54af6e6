//! Linktree as the sender: an event becomes deliveries, deliveries fall due, failures count, and 72 hours of failures
//! disable a subscription.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    State,
    catalog::Event,
    deliveries::{Answer, Attempt, Delivery, DeliveryState},
    rejection::Rejection,
    sending::{Plan, Request},
    spelling,
    subscriptions::{DisabledReason, Subscription},
};
use crate::linktree::{event::EventType, wire::SubscriptionId};

/// A due action of Linktree: an attempt of a delivery, or disabling a subscription.
#[derive(Debug)]
pub enum Due {
    /// An attempt to run; its result goes to [`State::finish`].
    Attempt(Plan),
    /// A subscription that has been disabled; no action is needed.
    Disabled(SubscriptionId),
}

impl State {
    /// Creates a delivery of `event`, due at once, for every active subscription of the account to its type. Returns
    /// the ids of the deliveries.
    ///
    /// # Errors
    /// [`Rejection::Impossible`] if too many are pending; then none is created.
    pub fn emit(&mut self, event: &Event, real: Timestamp) -> Result<Vec<String>, Rejection> {
        let wants = |it: &&Subscription| {
            it.account == event.account && it.disabled.is_none() && it.events.contains(&event.event_type)
        };
        let wanting: Vec<_> = self.subscriptions.iter().filter(wants).map(|it| it.id.clone()).collect();
        self.deliver(&wanting, &event.event_type, &event.data, real)
    }

    /// Creates a delivery for these subscriptions, regardless of their event types.
    ///
    /// # Errors
    /// As [`State::emit`].
    pub fn deliver(
        &mut self,
        to: &[SubscriptionId],
        event_type: &EventType,
        data: &Value,
        real: Timestamp,
    ) -> Result<Vec<String>, Rejection> {
        self.deliveries.has_room_for(to.len())?;
        let now = self.clock.now(real);
        let body = self.body(event_type, data, self.clock.on_the_wire(now));
        let made = to.iter().map(|subscription| {
            let id = self.ids.delivery();
            self.deliveries.add(Delivery {
                id: id.clone(),
                subscription: subscription.clone(),
                event_type: event_type.clone(),
                body: body.clone(),
                state: DeliveryState::Waiting { due: now },
                attempts: Vec::new(),
            });
            id
        });
        Ok(made.collect())
    }

    /// When the next attempt or disabling is due, in simulated time.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let disabling = self.subscriptions.iter().filter_map(Subscription::disable_due).min();
        self.deliveries.next_due().into_iter().chain(disabling).min()
    }

    /// Takes the first attempt or disabling that is due by now. Finishing one may change which others are due, so call
    /// it again after each.
    pub fn take_due(&mut self, real: Timestamp) -> Option<Due> {
        let now = self.clock.now(real);
        let due = self.next_due().filter(|due| *due <= now)?;
        // If both are due at the same time, the attempt comes first: its success keeps the subscription enabled.
        if self.deliveries.next_due() == Some(due) {
            return self.plan_attempt(now).map(Due::Attempt);
        }
        let id = self.subscriptions.iter().find(|it| it.disable_due() == Some(due)).map(|it| it.id.clone())?;
        self.subscriptions.get_mut(&id)?.disable(due, DisabledReason::ConsecutiveFailures);
        self.deliveries.drop_for(&id);
        Some(Due::Disabled(id))
    }

    /// Advances the clock to the next due time, at most `target`, and takes the attempt or disabling due then. Returns
    /// that time.
    pub fn move_to_next_due(&mut self, target: Timestamp, real: Timestamp) -> Option<(Timestamp, Due)> {
        let due = self.next_due().filter(|due| *due <= target)?;
        self.clock.move_to(due, real);
        Some((due, self.take_due(real)?))
    }

    fn plan_attempt(&mut self, now: Timestamp) -> Option<Plan> {
        let delivery = self.deliveries.start(now)?;
        // A delivery is dropped together with its subscription, so the subscription exists.
        let subscription = self.subscriptions.get(&delivery.subscription)?;
        let (url, id, body) = (subscription.url.clone(), delivery.id.clone(), delivery.body.clone());
        let request = match delivery.attempts.first().filter(|_| !self.resign_retries) {
            Some(first) => Request { url, delivery_id: id, signed: first.signed.clone(), body },
            None => Request::signed(url, id, &subscription.secret, self.clock.on_the_wire(now), body),
        };
        let fault = self.faults.take_delivery(&subscription.id);
        Some(Plan::new(request, fault.as_ref(), || self.ids.delivery()))
    }

    /// Records the end of an attempt: `answers` are the responses to the requests of `plan`, in order. Returns the one
    /// that counts.
    pub fn finish(&mut self, plan: Plan, answers: Vec<Answer>, real: Timestamp) -> Answer {
        let now = self.clock.now(real);
        let mut answers = answers.into_iter();
        let nothing = || Answer::None { problem: "nothing was sent".to_owned() };
        let answer = plan.instead.or_else(|| answers.next()).unwrap_or_else(nothing);
        let attempt = Attempt { at: now, signed: plan.signed, answer: answer.clone(), further: answers.collect() };
        let subscription = self.deliveries.finish(&plan.delivery, attempt);
        if let Some(subscription) = subscription.and_then(|id| self.subscriptions.get_mut(&id)) {
            if answer.is_success() {
                subscription.delivery_succeeded();
            } else if !self.only_5xx_disables || answer.is_server_error() {
                subscription.delivery_failed(now);
            }
        }
        answer
    }

    /// The body of a delivery, `{type, data, timestamp}`, spelled in one of many ways.
    pub(super) fn body(&mut self, event_type: &EventType, data: &Value, seconds: i64) -> Bytes {
        spelling::body(event_type.as_str(), data.clone(), seconds, self.ids.spelling()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        linktree::{
            retry::DISABLE_AFTER,
            wire::{CreateSubscription, SubscriptionStatus, UpdateSubscription},
        },
        simulator::state::{Setup, accounts::AccountKey, ids::Ids, offers::Offers},
    };

    const ACCOUNT: AccountKey = AccountKey(0);
    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn state() -> (State, SubscriptionId) {
        let accounts = vec!["name=a,token=t1".parse().unwrap()];
        let mut state = State::new(Setup { accounts, rate_limits: true, offers: Offers::All }, Ids::from_seed(1));
        let request = CreateSubscription { url: "https://h.example/".into(), events: vec![EventType::LinkCreated] };
        let id = state.register(ACCOUNT, request, START).unwrap().id;
        (state, id)
    }

    fn emit(state: &mut State, event_type: EventType, real: Timestamp) -> usize {
        state.emit(&Event { account: ACCOUNT, event_type, data: Value::Null }, real).unwrap().len()
    }

    fn attempt(state: &mut State, real: Timestamp, status: u16) -> Plan {
        let Some(Due::Attempt(plan)) = state.take_due(real) else { panic!("no attempt is due") };
        state.finish(plan.clone(), vec![Answer::Status { status, body: String::new() }], real);
        plan
    }

    #[test]
    fn only_active_subscriptions_that_want_an_event_get_it() {
        let (mut state, id) = state();
        assert_eq!(emit(&mut state, EventType::LinkCreated, START), 1);
        assert_eq!(emit(&mut state, EventType::LinkDeleted, START), 0);
        let disable = UpdateSubscription { status: Some(SubscriptionStatus::Disabled), ..Default::default() };
        state.edit(&id, disable, START).unwrap();
        assert_eq!(emit(&mut state, EventType::LinkCreated, START), 0);
        assert!(state.take_due(START).is_none(), "pending deliveries are dropped");
    }

    #[test]
    fn a_retry_has_the_same_id_and_bytes_and_a_new_signature_unless_disabled() {
        for resign in [true, false] {
            let (mut state, _) = state();
            state.resign_retries = resign;
            emit(&mut state, EventType::LinkCreated, START);
            let first = attempt(&mut state, START, 500).requests.remove(0);
            let second = attempt(&mut state, START + Duration::from_secs(10), 500).requests.remove(0);
            assert_eq!((&first.delivery_id, &first.body), (&second.delivery_id, &second.body));
            assert_eq!(first.signed != second.signed, resign);
        }
    }

    #[test]
    fn seventy_two_hours_after_the_first_failure_the_subscription_is_disabled() {
        let (mut state, id) = state();
        emit(&mut state, EventType::LinkCreated, START);
        let mut now = START;
        attempt(&mut state, now, 500);
        for delay in crate::linktree::retry::DELAYS {
            now += delay;
            attempt(&mut state, now, 500);
        }
        let moment = START + DISABLE_AFTER;
        assert_eq!(state.next_due(), Some(moment));
        assert!(state.take_due(moment - Duration::from_secs(1)).is_none());
        assert!(matches!(state.take_due(moment), Some(Due::Disabled(disabled)) if disabled == id));
        assert_eq!(state.next_due(), None);
        let enable = UpdateSubscription { status: Some(SubscriptionStatus::Active), ..Default::default() };
        let shown = state.update(ACCOUNT, &id, enable, moment).unwrap();
        assert_eq!((shown.status, shown.failing_since), (Some(SubscriptionStatus::Active), None));
        assert_eq!(emit(&mut state, EventType::LinkCreated, moment), 1);
    }

    #[test]
    fn one_success_stops_the_failure_clock() {
        let (mut state, _) = state();
        emit(&mut state, EventType::LinkCreated, START);
        attempt(&mut state, START, 500);
        let retry = START + Duration::from_secs(10);
        attempt(&mut state, retry, 200);
        assert_eq!(state.next_due(), None);
        emit(&mut state, EventType::LinkCreated, retry);
        attempt(&mut state, retry, 500);
        let disabling = state.subscriptions.iter().find_map(Subscription::disable_due);
        assert_eq!(disabling, Some(retry + DISABLE_AFTER), "it restarts at the next failure");
    }

    #[test]
    fn with_the_switch_only_5xx_counts_for_the_72_hours() {
        for (status, only_5xx, counts) in
            [(500, true, true), (503, true, true), (404, true, false), (302, true, false), (404, false, true)]
        {
            let (mut state, _) = state();
            state.only_5xx_disables = only_5xx;
            emit(&mut state, EventType::LinkCreated, START);
            attempt(&mut state, START, status);
            let disabling = state.subscriptions.iter().find_map(Subscription::disable_due);
            assert_eq!(disabling.is_some(), counts, "{status} {only_5xx}");
            let retry = START + Duration::from_secs(10);
            attempt(&mut state, retry, 500);
            let since = if counts { START } else { retry };
            let disabling = state.subscriptions.iter().find_map(Subscription::disable_due);
            assert_eq!(disabling, Some(since + DISABLE_AFTER), "{status} {only_5xx}");
        }
    }

    #[test]
    fn a_rotated_secret_signs_from_the_next_attempt_on() {
        let (mut state, id) = state();
        emit(&mut state, EventType::LinkCreated, START);
        attempt(&mut state, START, 500);
        let secret = state.rotate_secret(&id).unwrap();
        let retry = attempt(&mut state, START + Duration::from_secs(10), 200).requests.remove(0);
        let (sent_at, signature) = retry.signed.unwrap();
        assert!(signature.verifies(&secret, &sent_at, &retry.body));
    }
}

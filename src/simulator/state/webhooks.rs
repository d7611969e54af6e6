//! The calls that change webhooks. Those of the API enforce every rule; those of the control endpoints, which stand for
//! the dashboard or an accident, skip the rules about urls.

use jiff::Timestamp;

use super::{
    State,
    accounts::AccountKey,
    endpoint,
    rejection::Rejection,
    subscriptions::{DisabledReason, Registration, Subscription},
};
use crate::linktree::{
    event::EventType,
    secret::Secret,
    wire::{CreateSubscription, Subscription as Shown, SubscriptionId, SubscriptionStatus, UpdateSubscription},
};

/// Maximum number of event types of one subscription. Assumed; Linktree documents five event types.
const EVENTS_MAX: usize = 50;

impl State {
    /// Registers a webhook. Only this response contains the signing secret (assumed).
    ///
    /// # Errors
    /// 409 if the account has this url already, 422 if url or events are invalid.
    pub fn register(
        &mut self,
        account: AccountKey,
        request: CreateSubscription,
        real: Timestamp,
    ) -> Result<Shown, Rejection> {
        let CreateSubscription { url, events } = request;
        endpoint::check(&url)?;
        let events = check_events(events)?;
        self.subscriptions.url_is_free(account, &url, None)?;
        self.add(account, url, events, real)
    }

    /// Adds a webhook with any url, even a duplicate one.
    ///
    /// # Errors
    /// 422 if the simulator has too many subscriptions.
    pub fn add(
        &mut self,
        account: AccountKey,
        url: String,
        events: Vec<EventType>,
        real: Timestamp,
    ) -> Result<Shown, Rejection> {
        let (id, secret) = (self.ids.subscription(), self.ids.signing_secret());
        let new = Registration { id, account, url, events, secret };
        let added = self.subscriptions.add(new, self.clock.now(real))?;
        Ok(added.on_the_wire(&self.clock, true))
    }

    /// The subscription, if it belongs to this account.
    ///
    /// # Errors
    /// 404 if the account has no subscription with this id.
    pub fn owned(&self, account: AccountKey, id: &SubscriptionId) -> Result<&Subscription, Rejection> {
        self.subscriptions.get(id).filter(|it| it.account == account).ok_or(Rejection::NotFound)
    }

    /// # Errors
    /// 404, 409 and 422 as for [`State::register`].
    pub fn update(
        &mut self,
        account: AccountKey,
        id: &SubscriptionId,
        change: UpdateSubscription,
        real: Timestamp,
    ) -> Result<Shown, Rejection> {
        self.owned(account, id)?;
        if let Some(url) = &change.url {
            endpoint::check(url)?;
            self.subscriptions.url_is_free(account, url, Some(id))?;
        }
        let events = change.events.map(check_events).transpose()?;
        self.edit(id, UpdateSubscription { events, ..change }, real)
    }

    /// Changes a webhook without checks. Enabling it clears its failures; disabling it drops its pending deliveries.
    ///
    /// # Errors
    /// 404 if there is no subscription with this id.
    pub fn edit(
        &mut self,
        id: &SubscriptionId,
        change: UpdateSubscription,
        real: Timestamp,
    ) -> Result<Shown, Rejection> {
        let UpdateSubscription { url, events, status } = change;
        let now = self.clock.now(real);
        let it = self.subscriptions.get_mut(id).ok_or(Rejection::NotFound)?;
        url.into_iter().for_each(|url| it.url = url);
        events.into_iter().for_each(|events| it.events = events);
        match status {
            Some(SubscriptionStatus::Active) => it.enable(),
            Some(SubscriptionStatus::Disabled) => {
                it.disable(now, DisabledReason::Requested);
                self.deliveries.drop_for(id);
            }
            None => {}
        }
        Ok(it.on_the_wire(&self.clock, false))
    }

    /// Deletes a subscription.
    ///
    /// # Errors
    /// 404 if there is no subscription with this id.
    pub fn remove(&mut self, id: &SubscriptionId) -> Result<(), Rejection> {
        self.subscriptions.remove(id).ok_or(Rejection::NotFound)?;
        self.deliveries.drop_for(id);
        Ok(())
    }

    /// Replaces the signing secret, from the next attempt on. Assumed: without an overlap of both.
    ///
    /// # Errors
    /// 404 if there is no subscription with this id.
    pub fn rotate_secret(&mut self, id: &SubscriptionId) -> Result<Secret, Rejection> {
        let secret = self.ids.signing_secret();
        self.set_secret(id, secret)
    }

    /// Signs this subscription's next deliveries with `secret`.
    ///
    /// # Errors
    /// 404 if the subscription does not exist; 422 for an empty secret.
    pub fn set_secret(&mut self, id: &SubscriptionId, secret: Secret) -> Result<Secret, Rejection> {
        if secret.is_empty() {
            return Err(Rejection::Unprocessable("a signing secret must not be empty".to_owned()));
        }
        self.subscriptions.get_mut(id).ok_or(Rejection::NotFound)?.secret = secret.clone();
        Ok(secret)
    }
}

/// Accepts a list of at least one event type, all documented, and removes duplicates.
fn check_events(events: Vec<EventType>) -> Result<Vec<EventType>, Rejection> {
    if events.is_empty() || events.len() > EVENTS_MAX {
        return Err(Rejection::Unprocessable(format!("events: between 1 and {EVENTS_MAX} are required")));
    }
    if let Some(unknown) = events.iter().find(|event| !event.is_known()) {
        return Err(Rejection::Unprocessable(format!(
            "events: unknown event \"{unknown}\"",
            unknown = unknown.as_str()
        )));
    }
    let mut distinct = Vec::with_capacity(events.len());
    for event in events {
        if !distinct.contains(&event) {
            distinct.push(event);
        }
    }
    Ok(distinct)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::state::{Setup, ids::Ids, offers::Offers};

    const OURS: AccountKey = AccountKey(0);
    const THEIRS: AccountKey = AccountKey(1);
    const REAL: Timestamp = Timestamp::UNIX_EPOCH;

    fn state() -> State {
        let accounts = ["name=a,token=t1", "name=b,token=t2"].map(|account| account.parse().unwrap()).into();
        State::new(Setup { accounts, rate_limits: true, offers: Offers::All }, Ids::from_seed(1))
    }

    fn request(url: &str, events: &[&str]) -> CreateSubscription {
        CreateSubscription { url: url.into(), events: events.iter().map(|it| it.parse().unwrap()).collect() }
    }

    #[test]
    fn a_registration_shows_the_secret_and_later_answers_do_not() {
        let mut state = state();
        let shown = state.register(OURS, request("https://h.example/1", &["link.created"; 2]), REAL).unwrap();
        assert!(shown.signing_secret.is_some());
        assert_eq!(shown.events, [EventType::LinkCreated], "duplicates are removed");
        assert_eq!(state.edit(&shown.id, UpdateSubscription::default(), REAL).unwrap().signing_secret, None);
        assert_ne!(Some(state.rotate_secret(&shown.id).unwrap()), shown.signing_secret);
    }

    #[test]
    fn a_url_is_taken_once_per_account() {
        let mut state = state();
        let same = request("https://h.example/1", &["link.created"]);
        let first = state.register(OURS, same.clone(), REAL).unwrap();
        assert_eq!(state.register(OURS, same.clone(), REAL), Err(Rejection::DuplicateUrl));
        assert!(state.register(THEIRS, same.clone(), REAL).is_ok());
        let second = state.register(OURS, request("https://h.example/2", &["link.created"]), REAL).unwrap();
        let change = UpdateSubscription { url: Some(same.url), ..Default::default() };
        assert_eq!(state.update(OURS, &second.id, change.clone(), REAL), Err(Rejection::DuplicateUrl));
        assert!(state.update(OURS, &first.id, change, REAL).is_ok(), "its own url is no duplicate");
    }

    #[test]
    fn an_invalid_registration_is_unprocessable() {
        let mut state = state();
        for bad in [
            request("http://h.example/1", &["link.created"]),
            request("https://h.example/1", &[]),
            request("https://h.example/1", &["link.created", "link.exploded"]),
        ] {
            assert!(matches!(state.register(OURS, bad.clone(), REAL), Err(Rejection::Unprocessable(_))), "{bad:?}");
        }
    }

    #[test]
    fn the_webhook_of_another_account_is_not_found() {
        let mut state = state();
        let theirs = state.register(THEIRS, request("https://h.example/1", &["link.created"]), REAL).unwrap().id;
        assert!(matches!(state.owned(OURS, &theirs), Err(Rejection::NotFound)));
        assert_eq!(state.update(OURS, &theirs, UpdateSubscription::default(), REAL), Err(Rejection::NotFound));
        assert_eq!(state.remove(&SubscriptionId("wh_none".into())), Err(Rejection::NotFound));
    }
}

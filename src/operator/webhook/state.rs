//! What a process remembers of a webhook from one look to the next. Losing it costs a probe and a retry, nothing more.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{
    observed::{ProbeResult, SyncRequest},
    plan::Step,
    rest::Rest,
};
use crate::{
    api::condition::ConditionType,
    linktree::error::ApiError,
    operator::{account::backoff::Failures, kubernetes::digest::digest},
};

/// A good probe is believed for this long.
const PROBE_TTL: SignedDuration = SignedDuration::from_secs(60);
/// After this long all is read anew, even if nothing was told: a watch that lost an event costs no more than that.
const RESYNC_INTERVAL: SignedDuration = SignedDuration::from_secs(600);
/// Counters reach the status at most this often.
const COUNTERS_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub struct WebhookState {
    /// Of which webhook this is, of all that ever had its name.
    uid: Option<u64>,
    probe: Option<Probed>,
    failures: Failures,
    /// The generation of the spec that failed: a changed one is tried at once.
    failed_generation: Option<i64>,
    /// The condition the failed call was to fulfil.
    failed: Option<ConditionType>,
    unresolved: Option<Timestamp>,
    steps: Vec<Step>,
    reported_at: Option<Timestamp>,
    sync_request: Option<SyncRequest>,
    cleanup_done: Option<i64>,
    /// For which generation of the spec, and how long, what was read of other objects is believed.
    valid_until: Option<(Option<i64>, Timestamp)>,
    /// What the webhook rests on. Shared, since it holds a secret that need not be copied for each look.
    rest: Option<Arc<Rest>>,
}

/// The last probe.
#[derive(Clone, Debug)]
struct Probed {
    at: Timestamp,
    /// A digest of what was probed: whoever asks knows the url.
    url: u64,
    result: ProbeResult,
    /// It is what it should be.
    good: bool,
}

impl Probed {
    fn is_of(&self, url: &str) -> bool {
        self.url == digest(&url)
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.good && now.duration_since(self.at) < PROBE_TTL
    }
}

/// Whether there is to be a probe again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeDue {
    /// The last one is believed, or there was none.
    No,
    /// It found this, and is too old to be believed.
    Again(ProbeResult),
    /// It was of another url.
    Elsewhere,
}

impl WebhookState {
    /// The same, where it is of this webhook. Of another one nothing counts but that there was one: its subscription has the same
    /// url, and perhaps was made, by another operator, after the last list.
    #[must_use]
    pub fn of(self, uid: Option<&String>, now: Timestamp) -> Self {
        let uid = Some(digest(&uid));
        match self.uid {
            None => WebhookState { uid, ..self },
            Some(_) if self.uid == uid => self,
            Some(_) => WebhookState { uid, unresolved: Some(now), ..WebhookState::default() },
        }
    }

    /// Until when what was read of other objects is believed as long as watches do not tell otherwise; `None` if all is to
    /// be read anew.
    #[must_use]
    pub fn valid_until(&self, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        self.valid_until.filter(|(of, until)| *of == generation && now < *until).map(|(_, until)| until)
    }

    /// All is read anew. How long that is believed is spread by `share`, between 0 and 1, so that ten thousand webhooks
    /// that were looked at together are not read anew together.
    pub fn start_resync(&mut self, generation: Option<i64>, now: Timestamp, share: f64) -> Timestamp {
        let until = now.saturating_add(RESYNC_INTERVAL.mul_f64(1.0 - share / 2.0)).unwrap_or(now);
        self.valid_until = Some((generation, until));
        until
    }

    #[must_use]
    pub fn rest(&self) -> Option<Arc<Rest>> {
        self.rest.clone()
    }

    pub fn rests(&mut self, rest: Option<Rest>) {
        self.rest = rest.map(Arc::new);
    }

    /// Whether `url` is to be probed again.
    #[must_use]
    pub fn probe_due(&self, url: &str, now: Timestamp) -> ProbeDue {
        match &self.probe {
            None => ProbeDue::No,
            Some(probed) if !probed.is_of(url) => ProbeDue::Elsewhere,
            Some(probed) if probed.is_valid(now) => ProbeDue::No,
            Some(probed) => ProbeDue::Again(probed.result.clone()),
        }
    }

    /// The last probe of `url`, unless it failed or is too old to be believed.
    #[must_use]
    pub fn valid_probe(&self, url: &Url, now: Timestamp) -> Option<ProbeResult> {
        let probed = self.probe.as_ref()?;
        (probed.is_of(url.as_str()) && probed.is_valid(now)).then(|| probed.result.clone())
    }

    /// When the last probe was made.
    #[must_use]
    pub fn probed_at(&self) -> Option<Timestamp> {
        self.probe.as_ref().map(|probed| probed.at)
    }

    /// A probe was made. Only a `good` one is believed for a while.
    pub fn probed(&mut self, url: &Url, result: ProbeResult, good: bool, now: Timestamp) {
        self.probe = Some(Probed { at: now, url: digest(&url.as_str()), result, good });
    }

    /// Until when Linktree is left alone after a failed call for this generation of the spec.
    #[must_use]
    pub fn hold_until(&self, generation: Option<i64>) -> Option<Timestamp> {
        self.failures.hold_until().filter(|_| self.failed_generation == generation)
    }

    /// The request for a look, with the time it was first seen; a new value is a new request.
    pub fn sync_requested(&mut self, value: Option<&str>, now: Timestamp) -> Option<SyncRequest> {
        let known = self.sync_request.take().filter(|known| Some(known.value.as_str()) == value);
        let new = || value.map(|value| SyncRequest { value: value.to_owned(), noticed_at: now });
        self.sync_request = known.or_else(new);
        self.sync_request.clone()
    }

    /// The condition that stays unfulfilled while Linktree is left alone.
    #[must_use]
    pub fn held(&self, generation: Option<i64>) -> Option<ConditionType> {
        self.failed.filter(|_| self.failed_generation == generation)
    }

    /// When a registration last ended without our knowing whether it took effect.
    #[must_use]
    pub fn unresolved(&self) -> Option<Timestamp> {
        self.unresolved
    }

    /// A call to Linktree failed, which was to fulfil the condition `of`.
    pub fn failed(&mut self, of: ConditionType, error: &ApiError, generation: Option<i64>, now: Timestamp) {
        self.failures.add(error, now);
        self.failed_generation = generation;
        self.failed = Some(of);
        if of == ConditionType::Registered && error.may_have_taken_effect() {
            self.unresolved = Some(now);
        }
    }

    /// Linktree made a signing secret and it could not be kept: as good as an answer that could not be read.
    pub fn secret_lost(&mut self, generation: Option<i64>, now: Timestamp) {
        let lost = ApiError::Unreadable { problem: "its secret could not be kept".to_owned() };
        self.failed(ConditionType::SigningKeysReady, &lost, generation, now);
    }

    /// Calls to Linktree succeeded.
    pub fn succeeded(&mut self) {
        self.failures = Failures::default();
        self.failed = None;
    }

    /// Whether these steps are the ones of the last look again: then they did not help, and are not hurried.
    pub fn repeats(&mut self, steps: &[Step]) -> bool {
        let repeats = self.steps == steps;
        self.steps = steps.to_vec();
        repeats
    }

    /// Whether nothing was left of an earlier exposure at this generation of the spec.
    #[must_use]
    pub fn is_cleanup_done(&self, generation: Option<i64>) -> bool {
        self.cleanup_done.is_some() && self.cleanup_done == generation
    }

    pub fn cleanup_done(&mut self, generation: Option<i64>) {
        self.cleanup_done = generation;
    }

    /// Whether counters alone are worth a write.
    #[must_use]
    pub fn counters_due(&self, now: Timestamp) -> bool {
        self.reported_at.is_none_or(|at| now.duration_since(at) >= COUNTERS_INTERVAL)
    }

    pub fn reported(&mut self, now: Timestamp) {
        self.reported_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_request_for_a_look_is_of_the_time_it_was_first_seen() {
        let mut state = WebhookState::default();
        let request = |value: &str, second| Some(SyncRequest { value: value.into(), noticed_at: at(second) });
        assert_eq!(state.sync_requested(Some("a"), at(1)), request("a", 1));
        assert_eq!(state.sync_requested(Some("a"), at(2)), request("a", 1));
        assert_eq!(state.sync_requested(Some("b"), at(3)), request("b", 3));
        assert_eq!(state.sync_requested(None, at(4)), None);
        assert_eq!(state.sync_requested(Some("b"), at(5)), request("b", 5));
    }

    #[test]
    fn of_a_webhook_that_took_anothers_name_nothing_is_remembered_but_that() {
        let (one, other) = ("1".to_owned(), "2".to_owned());
        let mut state = WebhookState::default().of(Some(&one), at(1));
        state.reported(at(2));
        let state = state.of(Some(&one), at(3));
        assert_eq!((state.counters_due(at(3)), state.unresolved()), (false, None));
        let state = state.of(Some(&other), at(4));
        assert_eq!((state.counters_due(at(4)), state.unresolved()), (true, Some(at(4))));
    }

    #[test]
    fn a_changed_spec_does_not_wait_for_the_failures_of_the_old_one() {
        let mut state = WebhookState::default();
        state.failed(ConditionType::UpToDate, &ApiError::Server { status: 503, retry_after: None }, Some(1), at(0));
        assert_eq!((state.hold_until(Some(1)), state.hold_until(Some(2))), (Some(at(5)), None));
        assert_eq!((state.held(Some(1)), state.held(Some(2))), (Some(ConditionType::UpToDate), None));
        state.succeeded();
        assert_eq!((state.hold_until(Some(1)), state.held(Some(1))), (None, None));
    }

    #[test]
    fn a_registration_is_unresolved_only_if_it_may_have_taken_effect() {
        let mut state = WebhookState::default();
        let refused = ApiError::Invalid { status: 422, message: String::new() };
        state.failed(ConditionType::Registered, &refused, Some(1), at(1));
        assert_eq!(state.unresolved(), None);
        let lost = ApiError::Server { status: 502, retry_after: None };
        state.failed(ConditionType::UpToDate, &lost, Some(1), at(2));
        assert_eq!(state.unresolved(), None, "of an update");
        state.failed(ConditionType::Registered, &lost, Some(1), at(3));
        state.succeeded();
        assert_eq!(state.unresolved(), Some(at(3)));
    }

    #[test]
    fn the_same_steps_once_more_are_noticed() {
        let mut state = WebhookState::default();
        assert!(state.repeats(&[]), "there were none before");
        assert!(!state.repeats(&[Step::RequestList]));
        assert!(state.repeats(&[Step::RequestList]));
        assert!(!state.repeats(&[Step::AddFinalizer]));
    }

    #[test]
    fn what_was_read_is_valid_for_one_generation_and_five_to_ten_minutes() {
        let mut state = WebhookState::default();
        assert_eq!(state.valid_until(Some(1), at(0)), None);
        assert_eq!(state.start_resync(Some(1), at(0), 1.0), at(300));
        assert_eq!(state.start_resync(Some(1), at(0), 0.0), at(600));
        assert_eq!(state.valid_until(Some(1), at(599)), Some(at(600)));
        assert_eq!((state.valid_until(Some(1), at(600)), state.valid_until(Some(2), at(1))), (None, None));
    }

    #[test]
    fn a_probe_is_due_once_it_is_no_longer_believed() {
        let (url, other) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let mut state = WebhookState::default();
        assert_eq!(state.probe_due(url.as_str(), at(0)), ProbeDue::No, "there was none");
        let result = ProbeResult::Succeeded { certificate_expires: Some(at(9)) };
        state.probed(&url, result.clone(), true, at(0));
        assert_eq!(state.probe_due(url.as_str(), at(59)), ProbeDue::No);
        assert_eq!(state.probe_due(url.as_str(), at(60)), ProbeDue::Again(result));
        assert_eq!(state.probe_due(other.as_str(), at(59)), ProbeDue::Elsewhere);
    }

    #[test]
    fn only_a_recent_good_probe_of_the_same_url_is_valid() {
        let (url, other) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let mut state = WebhookState::default();
        let succeeded = ProbeResult::Succeeded { certificate_expires: None };
        state.probed(&url, succeeded.clone(), true, at(0));
        assert_eq!(state.valid_probe(&url, at(59)), Some(succeeded));
        assert_eq!(state.probed_at(), Some(at(0)));
        assert_eq!(state.valid_probe(&url, at(60)), None);
        assert_eq!(state.valid_probe(&other, at(1)), None);
        state.probed(&url, ProbeResult::Unexpected { problem: String::new() }, false, at(0));
        assert_eq!(state.valid_probe(&url, at(1)), None);
    }
}

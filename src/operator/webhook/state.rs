//! The in-memory state of a webhook between reconciliations. Losing it costs only a probe and an earlier retry.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{
    applied_children::AppliedChildren,
    correction::Correction,
    creation::Creation,
    observed::{ProbeResult, SyncRequest},
    plan::Step,
    rest::Rest,
    route_keys::RouteKeys,
    sink_failures::SinkFailures,
    url_proof::UrlProof,
    write_budget::WriteBudget,
};
use crate::{
    api::{condition::ConditionType, webhook_status::DriftStatus},
    linktree::error::ApiError,
    operator::{account::backoff::Failures, kubernetes::digest::digest},
    route::status::SinkStatus,
};

/// How long the result of a successful probe is reused.
const PROBE_TTL: SignedDuration = SignedDuration::from_secs(60);
/// Minimum time between a failed probe and the next one.
const PROBE_PAUSE: SignedDuration = SignedDuration::from_millis(2500);
/// Maximum time between resyncs, which read all objects of a webhook even if no watch reported a change. It bounds the
/// effect of a lost watch event.
const RESYNC_INTERVAL: SignedDuration = SignedDuration::from_secs(600);
/// Minimum time between status writes that change nothing but counters.
const COUNTERS_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// The in-memory state of a webhook.
#[derive(Clone, Debug, Default)]
pub struct WebhookState {
    /// The digest of the webhook's uid, to detect that it was recreated under its name.
    uid: Option<u64>,
    probe: Option<Probed>,
    proof: UrlProof,
    failures: Failures,
    /// The generation of the spec for which a call failed; a changed spec is tried at once, without the backoff.
    failed_generation: Option<i64>,
    /// The keys of the route, while no Secret of ours has them.
    pub route_keys: RouteKeys,
    /// The connection's spec and account for which the calls were made.
    connection: Option<ConnectionVersion>,
    /// The condition that the failed call should have made true.
    failed: Option<ConditionType>,
    unresolved: Option<Timestamp>,
    steps: Vec<Step>,
    reported_at: Option<Timestamp>,
    writes: WriteBudget,
    /// The time at which a throttled request was last reported to be due.
    forecast: Option<Timestamp>,
    correction: Option<Correction>,
    pub applied: AppliedChildren,
    sync_request: Option<SyncRequest>,
    cleanup_done: Option<i64>,
    sink_failures: SinkFailures,
    /// The time of the next resync, valid only for this generation of the spec.
    valid_until: Option<(Option<i64>, Timestamp)>,
    /// The fingerprint, if the webhook is settled. Shared, so that the admin token in it is not copied at each
    /// reconciliation.
    rest: Option<Arc<Rest>>,
}

/// The spec and the token of a connection: a call that was rejected is tried again once one of them changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionVersion {
    pub generation: Option<i64>,
    /// [`Account::number`](crate::operator::account::Account::number).
    pub account: u64,
}

/// The last probe of a webhook's URL.
#[derive(Clone, Debug)]
struct Probed {
    at: Timestamp,
    /// A digest of the probed URL.
    url: u64,
    result: ProbeResult,
    /// Whether the result is the desired one.
    good: bool,
}

impl Probed {
    fn is_of(&self, url: &str) -> bool {
        self.url == digest(&url)
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.good && self.is_within(PROBE_TTL, now)
    }

    /// Whether the probe is younger than `limit`. One in the future was made before the clock was set back.
    fn is_within(&self, limit: SignedDuration, now: Timestamp) -> bool {
        (SignedDuration::ZERO..limit).contains(&now.duration_since(self.at))
    }
}

/// Whether a poll of a settled webhook must probe the URL again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeDue {
    /// The last result has not expired, or the URL was never probed.
    No,
    /// The last probe had this result, which has expired: a new probe must have the same one.
    Again(ProbeResult),
    /// The last probe was of another URL.
    OtherUrl,
}

impl WebhookState {
    /// The state for the webhook with this uid.
    ///
    /// The state of an earlier webhook of the same name is dropped. The new state begins with an unresolved
    /// registration: the earlier webhook's subscription has the same URL, and another operator may have created it
    /// after the last list.
    #[must_use]
    pub fn of(self, uid: Option<&String>, now: Timestamp) -> Self {
        let uid = Some(digest(&uid));
        match self.uid {
            None => WebhookState { uid, ..self },
            Some(_) if self.uid == uid => self,
            Some(_) => WebhookState { uid, unresolved: Some(now), ..WebhookState::default() },
        }
    }

    /// The time until which the observed versions of the webhook's objects are valid; `None` if a resync is due.
    #[must_use]
    pub fn valid_until(&self, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        self.valid_until.filter(|(valid_for, until)| *valid_for == generation && now < *until).map(|(_, until)| until)
    }

    /// Starts a resync. Returns the time of the next one: a resync interval from now, or up to half an interval earlier
    /// by `jitter` (0 to 1), so that ten thousand webhooks do not resync together.
    pub fn start_resync(&mut self, generation: Option<i64>, now: Timestamp, jitter: f64) -> Timestamp {
        let until = now.saturating_add(RESYNC_INTERVAL.mul_f64(1.0 - jitter / 2.0)).unwrap_or(now);
        self.valid_until = Some((generation, until));
        until
    }

    /// The fingerprint of the webhook, if it is settled.
    #[must_use]
    pub fn rest(&self) -> Option<Arc<Rest>> {
        self.rest.clone()
    }

    /// Sets the fingerprint; `None` if the webhook is not settled.
    pub fn rests(&mut self, rest: Option<Rest>) {
        self.rest = rest.map(Arc::new);
    }

    /// Whether a settled webhook's `url` must be probed again.
    #[must_use]
    pub fn probe_due(&self, url: &str, now: Timestamp) -> ProbeDue {
        match &self.probe {
            None => ProbeDue::No,
            Some(probed) if !probed.is_of(url) => ProbeDue::OtherUrl,
            Some(probed) if probed.is_valid(now) => ProbeDue::No,
            Some(probed) => ProbeDue::Again(probed.result.clone()),
        }
    }

    /// The result of the last probe of `url`, if it was good and has not expired.
    #[must_use]
    pub fn valid_probe(&self, url: &Url, now: Timestamp) -> Option<ProbeResult> {
        let probed = self.probe.as_ref()?;
        (probed.is_of(url.as_str()) && probed.is_valid(now)).then(|| probed.result.clone())
    }

    /// The result of the last probe of `url`, if it failed a moment ago: the URL is not probed again at once, however
    /// often the webhook is reconciled.
    #[must_use]
    pub fn recent_failure(&self, url: &Url, now: Timestamp) -> Option<ProbeResult> {
        let probed = self.probe.as_ref()?;
        let recent = !probed.good && probed.is_of(url.as_str()) && probed.is_within(PROBE_PAUSE, now);
        recent.then(|| probed.result.clone())
    }

    /// The time of the last probe.
    #[must_use]
    pub fn probed_at(&self) -> Option<Timestamp> {
        self.probe.as_ref().map(|probed| probed.at)
    }

    /// Records a probe and its result; only a `good` one is reused until it expires.
    pub fn probed(&mut self, url: &Url, result: ProbeResult, good: bool, now: Timestamp) {
        self.probe = Some(Probed { at: now, url: digest(&url.as_str()), result, good });
    }

    /// Whether the URL was proven to lead to the receiver a short time ago.
    #[must_use]
    pub fn is_proven(&self, url: &Url, now: Timestamp) -> bool {
        self.proof.holds(url, now)
    }

    /// Records a proof that the URL leads to the receiver.
    pub fn proven(&mut self, url: &Url, now: Timestamp) {
        self.proof = UrlProof::of(url, now);
    }

    /// The end of the backoff after a failed call to Linktree for this generation of the spec.
    #[must_use]
    pub fn hold_until(&self, generation: Option<i64>) -> Option<Timestamp> {
        self.failures.hold_until().filter(|_| self.failed_generation == generation)
    }

    /// Ends the backoff if the connection's spec or token has changed since the failed calls.
    pub fn with_connection(&mut self, version: Option<ConnectionVersion>) {
        if version.is_some() && self.connection != version {
            self.connection = version;
            self.succeeded();
        }
    }

    /// Whether Linktree has rejected the registration of this generation of the spec.
    #[must_use]
    pub fn creation(&self, generation: Option<i64>) -> Creation {
        let again = self.held(generation) == Some(ConditionType::Registered) && self.failures.is_rejected();
        if again { Creation::Again } else { Creation::First }
    }

    /// The pending sync request with this value, and when it was first seen; a new value is a new request, which ends
    /// the backoff after failed calls.
    pub fn sync_requested(&mut self, value: Option<&str>, now: Timestamp) -> Option<SyncRequest> {
        let known = self.sync_request.take().filter(|known| Some(known.value.as_str()) == value);
        if known.is_none() && value.is_some() {
            self.failures = Failures::default();
        }
        let new = || value.map(|value| SyncRequest { value: value.to_owned(), noticed_at: now });
        self.sync_request = known.or_else(new);
        self.sync_request.clone()
    }

    /// The failures of held and failing sinks, as messages contain them, after the receiver reported these `sinks`.
    pub fn sink_failures(&mut self, sinks: &[SinkStatus], now: Timestamp) -> BTreeMap<String, String> {
        self.sink_failures.update(sinks, now)
    }

    /// The condition that the failed call should have made true, for this generation of the spec.
    #[must_use]
    pub fn held(&self, generation: Option<i64>) -> Option<ConditionType> {
        self.failed.filter(|_| self.failed_generation == generation)
    }

    /// When the last registration request whose result is unknown, such as after a timeout, ended.
    #[must_use]
    pub fn unresolved(&self) -> Option<Timestamp> {
        self.unresolved
    }

    /// Records a failed call to Linktree that should have made `condition` true, and extends the backoff.
    pub fn failed(&mut self, condition: ConditionType, error: &ApiError, generation: Option<i64>, now: Timestamp) {
        if condition == ConditionType::Registered {
            self.failures.add_registration(error, now);
        } else {
            self.failures.add(error, now);
        }
        self.failed_generation = generation;
        self.failed = Some(condition);
        if condition == ConditionType::Registered && error.may_have_taken_effect() {
            self.unresolved = Some(now);
        }
    }

    /// Records that Linktree created a signing secret that could not be stored; this counts as a failed call with an
    /// unreadable response.
    pub fn secret_lost(&mut self, generation: Option<i64>, now: Timestamp) {
        let lost = ApiError::Unreadable { problem: "its signing secret could not be stored".to_owned() };
        self.failed(ConditionType::SigningKeysReady, &lost, generation, now);
    }

    /// Records that a subscription was adopted, which ends the backoff after a failed registration.
    pub fn adopted(&mut self, generation: Option<i64>) {
        if self.held(generation) == Some(ConditionType::Registered) {
            self.succeeded();
        }
    }

    /// Records that the calls to Linktree succeeded, which ends the backoff.
    pub fn succeeded(&mut self) {
        self.failures = Failures::default();
        self.failed = None;
    }

    /// The last correction of the subscription's URL or events.
    #[must_use]
    pub fn correction(&self) -> Option<Correction> {
        self.correction.clone()
    }

    /// Records a correction of these differences.
    pub fn corrected(&mut self, generation: Option<i64>, drift: &[DriftStatus], now: Timestamp) {
        self.correction = Some(Correction::after(self.correction.as_ref(), generation, drift, now));
    }

    /// Whether these steps equal those of the last reconciliation: they then had no effect and must not be repeated at
    /// once.
    pub fn repeats(&mut self, steps: &[Step]) -> bool {
        let repeats = self.steps == steps;
        self.steps = steps.to_vec();
        repeats
    }

    /// Whether a search has found no stale object for this generation of the spec.
    #[must_use]
    pub fn is_cleanup_done(&self, generation: Option<i64>) -> bool {
        self.cleanup_done.is_some() && self.cleanup_done == generation
    }

    pub fn cleanup_done(&mut self, generation: Option<i64>) {
        self.cleanup_done = generation;
    }

    /// Whether a status write that changes only counters is due.
    #[must_use]
    pub fn counters_due(&self, now: Timestamp) -> bool {
        self.reported_at.is_none_or(|at| now.duration_since(at) >= COUNTERS_INTERVAL)
    }

    /// Whether a status write that changes only texts may be made.
    #[must_use]
    pub fn texts_due(&self, now: Timestamp) -> bool {
        self.writes.is_available(now)
    }

    /// Records a status write, and whether it changed only texts.
    pub fn reported(&mut self, only_texts: bool, now: Timestamp) {
        self.reported_at = Some(now);
        self.writes.record(only_texts, now);
    }

    /// The time to report for a throttled request that is due at `due`. It moves only by a sixth of the time that is
    /// left, since each move costs a status write.
    pub fn forecast(&mut self, due: Timestamp, now: Timestamp) -> Timestamp {
        let is_near = |kept: &Timestamp| {
            let left = kept.duration_since(now);
            left.is_positive() && due.duration_since(*kept).abs().saturating_mul(6) <= left
        };
        *self.forecast.insert(self.forecast.filter(is_near).unwrap_or(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_sync_request_keeps_the_time_it_was_first_seen() {
        let mut state = WebhookState::default();
        let request = |value: &str, second| Some(SyncRequest { value: value.into(), noticed_at: at(second) });
        assert_eq!(state.sync_requested(Some("a"), at(1)), request("a", 1));
        assert_eq!(state.sync_requested(Some("a"), at(2)), request("a", 1));
        assert_eq!(state.sync_requested(Some("b"), at(3)), request("b", 3));
        assert_eq!(state.sync_requested(None, at(4)), None);
        assert_eq!(state.sync_requested(Some("b"), at(5)), request("b", 5));
    }

    #[test]
    fn the_state_of_a_recreated_webhook_is_dropped_and_marked_as_unresolved() {
        let (one, other) = ("1".to_owned(), "2".to_owned());
        let mut state = WebhookState::default().of(Some(&one), at(1));
        state.reported(false, at(2));
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
    fn a_rejected_registration_is_tried_again_once_something_has_changed() {
        let version = |generation, account| Some(ConnectionVersion { generation: Some(generation), account });
        for (case, connection, sync_request) in [
            ("the connection's spec", version(2, 1), None),
            ("the token", version(1, 2), None),
            ("a sync request", version(1, 1), Some("now")),
        ] {
            let mut state = WebhookState::default();
            state.with_connection(version(1, 1));
            let rejected = ApiError::Invalid { status: 422, message: String::new() };
            state.failed(ConditionType::Registered, &rejected, Some(1), at(0));
            state.with_connection(version(1, 1));
            state.with_connection(None);
            assert_eq!((state.hold_until(Some(1)), state.creation(Some(1))), (Some(at(3600)), Creation::Again));
            assert_eq!(state.creation(Some(2)), Creation::First, "the spec has changed");
            state.with_connection(connection);
            state.sync_requested(sync_request, at(1));
            assert_eq!((state.hold_until(Some(1)), state.creation(Some(1))), (None, Creation::First), "{case}");
        }
    }

    #[test]
    fn a_registration_is_unresolved_only_if_it_may_have_taken_effect() {
        let mut state = WebhookState::default();
        let rejected = ApiError::Invalid { status: 422, message: String::new() };
        state.failed(ConditionType::Registered, &rejected, Some(1), at(1));
        assert_eq!(state.unresolved(), None);
        let lost = ApiError::Server { status: 502, retry_after: None };
        state.failed(ConditionType::UpToDate, &lost, Some(1), at(2));
        assert_eq!(state.unresolved(), None, "an update is not a registration");
        state.failed(ConditionType::Registered, &lost, Some(1), at(3));
        state.succeeded();
        assert_eq!(state.unresolved(), Some(at(3)));
    }

    #[test]
    fn repeated_steps_are_detected() {
        let mut state = WebhookState::default();
        assert!(state.repeats(&[]), "there were none before");
        assert!(!state.repeats(&[Step::RequestList]));
        assert!(state.repeats(&[Step::RequestList]));
        assert!(!state.repeats(&[Step::AddFinalizer]));
    }

    #[test]
    fn a_resync_is_due_after_five_to_ten_minutes_and_for_a_new_generation() {
        let mut state = WebhookState::default();
        assert_eq!(state.valid_until(Some(1), at(0)), None);
        assert_eq!(state.start_resync(Some(1), at(0), 1.0), at(300));
        assert_eq!(state.start_resync(Some(1), at(0), 0.0), at(600));
        assert_eq!(state.valid_until(Some(1), at(599)), Some(at(600)));
        assert_eq!((state.valid_until(Some(1), at(600)), state.valid_until(Some(2), at(1))), (None, None));
    }

    #[test]
    fn a_probe_is_due_once_the_last_result_has_expired() {
        let (url, other) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let mut state = WebhookState::default();
        assert_eq!(state.probe_due(url.as_str(), at(0)), ProbeDue::No, "there was none");
        let result = ProbeResult::Succeeded { certificate_expires: Some(at(9)) };
        state.probed(&url, result.clone(), true, at(0));
        assert_eq!(state.probe_due(url.as_str(), at(59)), ProbeDue::No);
        assert_eq!(state.probe_due(url.as_str(), at(60)), ProbeDue::Again(result));
        assert_eq!(state.probe_due(other.as_str(), at(59)), ProbeDue::OtherUrl);
    }

    #[test]
    fn a_failed_probe_is_not_repeated_at_once() {
        let (url, other) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let mut state = WebhookState::default();
        let failed = ProbeResult::Unexpected { problem: String::new() };
        state.probed(&url, failed.clone(), false, at(10));
        assert_eq!(state.recent_failure(&url, at(12)), Some(failed.clone()));
        assert_eq!(state.recent_failure(&url, at(13)), None);
        assert_eq!(state.recent_failure(&other, at(11)), None);
        assert_eq!(state.recent_failure(&url, at(9)), None, "the clock was set back");
        state.probed(&url, failed, true, at(20));
        assert_eq!(state.recent_failure(&url, at(21)), None, "it succeeded");
    }

    #[test]
    fn a_forecast_moves_by_a_sixth_of_the_time_that_is_left() {
        let mut state = WebhookState::default();
        for (now, due, reported) in [
            (0, 600, 600),
            (0, 700, 600),
            (0, 701, 701),
            (100, 610, 701),
            (400, 650, 650),
            (600, 645, 650),
            (649, 651, 651),
            (700, 702, 702),
        ] {
            assert_eq!(state.forecast(at(due), at(now)), at(reported), "{due} at {now}");
        }
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

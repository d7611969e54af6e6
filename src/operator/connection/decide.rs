//! Decides whether to list an account now. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{api::connection::LinktreeConnectionSpec, linktree::error::ApiError};

/// Added to a requeue delay until some point in time, so that the point has passed when the reconciliation runs.
const MARGIN: Duration = Duration::from_millis(50);

/// State of the API token in the Secret that the connection names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Present,
    Missing,
    /// The Secret key contains characters that no token has.
    Unusable,
}

/// The decision for one reconciliation of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Do not list: there is no usable token, hence no account.
    Nothing,
    /// Do not list yet: the last list is recent enough, or a backoff is in force.
    Wait,
    /// List the account now.
    List,
}

impl Plan {
    /// Whether the plan may change state that the connection's webhooks depend on; they are then enqueued.
    #[must_use]
    pub fn changes_what_webhooks_see(self) -> bool {
        match self {
            Plan::Nothing | Plan::List => true,
            Plan::Wait => false,
        }
    }
}

/// End of the backoff that delays the next list. A list that a user requests skips our own backoff, but not Linktree's
/// `Retry-After`.
#[must_use]
pub fn hold(hold_until: Option<Timestamp>, last_error: Option<&ApiError>, requested: bool) -> Option<Timestamp> {
    hold_until.filter(|_| !requested || matches!(last_error, Some(ApiError::TooManyRequests { .. })))
}

/// Whether this reconciliation completes a user's sync request: Linktree answered the list, or there is no account to
/// list.
#[must_use]
pub fn handles_request(plan: Plan, answered: bool) -> bool {
    match plan {
        Plan::Nothing => true,
        Plan::Wait => false,
        Plan::List => answered,
    }
}

/// When an account was last listed, and the constraints on the next list.
#[derive(Clone, Debug, Default)]
pub struct ListState {
    /// Start of the last list.
    pub listed_at: Option<Timestamp>,
    /// Duration of the last list.
    pub took: Duration,
    /// Whether a list was requested ahead of the sync period.
    pub requested: bool,
    /// End of the backoff: no list before it.
    pub hold_until: Option<Timestamp>,
}

/// Decides whether to list the account now. A periodic list may start once the shortest [`pause`] has passed.
#[must_use]
pub fn decide(spec: &LinktreeConnectionSpec, token: Token, state: &ListState, now: Timestamp) -> Plan {
    let ListState { listed_at, took, requested, hold_until } = state;
    match token {
        Token::Missing | Token::Unusable => return Plan::Nothing,
        Token::Present => {}
    }
    if hold_until.is_some_and(|until| now < until) {
        return Plan::Wait;
    }
    let earliest = SignedDuration::try_from(pause(spec.sync_period_seconds, *took, 1.0)).unwrap_or(SignedDuration::MAX);
    let due = listed_at.is_none_or(|listed_at| now.duration_since(listed_at) >= earliest || now < listed_at);
    if due || *requested { Plan::List } else { Plan::Wait }
}

/// Time from the start of one list to the start of the next. It is shorter if a list takes long, so that a change at
/// Linktree is noticed within one sync period. The jitter `spread` (0 to 1) shortens it by up to a tenth, so that
/// connections do not list at the same time.
#[must_use]
pub fn pause(period_seconds: i64, took: Duration, spread: f64) -> Duration {
    let period = Duration::from_secs(u64::try_from(period_seconds).unwrap_or(0));
    period.saturating_sub(took).max(period / 10).mul_f64(1.0 - 0.1 * spread)
}

/// Requeue delay of a connection: until the backoff ends, or else until the next list is due; at most until the
/// reservation expires, so that the status no longer shows it. `None` if all these times have passed or are unknown.
#[must_use]
pub fn next_reconcile(
    hold_until: Option<Timestamp>,
    list_due: Option<Timestamp>,
    reserved_until: Option<Timestamp>,
    now: Timestamp,
) -> Option<Duration> {
    let ahead = |at: Option<Timestamp>| at.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    let past = |ahead: Duration| ahead + MARGIN;
    let list = ahead(hold_until).map(past).or_else(|| ahead(list_due));
    [list, ahead(reserved_until).map(past)].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_takes_long_starts_earlier() {
        let seconds = Duration::from_secs;
        for (took, spread, paused) in [(0, 0.0, 300), (0, 1.0, 270), (60, 0.0, 240), (1000, 0.0, 30)] {
            assert_eq!(pause(300, seconds(took), spread), seconds(paused));
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn state(listed_at: Option<Timestamp>, requested: bool, hold_until: Option<Timestamp>) -> ListState {
        ListState { listed_at, took: Duration::ZERO, requested, hold_until }
    }

    #[test]
    fn a_connection_is_requeued_for_its_list_and_for_its_reservation() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let past = |ahead| seconds(ahead).map(|ahead| ahead + MARGIN);
        for (hold_until, list_due, reserved_until, next) in [
            (None, None, None, None),
            (None, Some(at(1300)), None, seconds(300)),
            (None, Some(at(999)), None, None),
            (Some(at(1010)), Some(at(1300)), None, past(10)),
            (Some(at(999)), Some(at(1300)), None, seconds(300)),
            (None, Some(at(1300)), Some(at(1091)), past(91)),
            (None, Some(at(1060)), Some(at(1091)), seconds(60)),
            (None, Some(at(1300)), Some(at(999)), seconds(300)),
            (Some(at(1200)), Some(at(1300)), Some(at(1091)), past(91)),
        ] {
            let delay = next_reconcile(hold_until, list_due, reserved_until, at(1000));
            assert_eq!(delay, next, "{hold_until:?} {list_due:?} {reserved_until:?}");
        }
    }

    #[test]
    fn an_account_is_listed_once_per_period_or_on_request_and_never_during_a_pause() {
        let spec: LinktreeConnectionSpec =
            serde_json::from_value(serde_json::json!({"tokenSecretRef": {"name": "t"}})).unwrap();
        let cases = [
            ("never listed", None, false, None, Plan::List),
            ("listed just now", Some(at(1000)), false, None, Plan::Wait),
            ("a period ago", Some(at(1000 - spec.sync_period_seconds)), false, None, Plan::List),
            ("the clock was set back since", Some(at(2000)), false, None, Plan::List),
            ("listed just now, and requested", Some(at(999)), true, None, Plan::List),
            ("requested during a pause", Some(at(999)), true, Some(at(1001)), Plan::Wait),
            ("the pause is over", None, false, Some(at(1000)), Plan::List),
        ];
        for (case, listed_at, requested, hold, plan) in cases {
            assert_eq!(decide(&spec, Token::Present, &state(listed_at, requested, hold), at(1000)), plan, "{case}");
        }
        let too_many = ApiError::TooManyRequests { retry_after: None };
        let failed = ApiError::Server { status: 500, retry_after: None };
        for (case, last_error, requested, plan, handled) in [
            ("no request", &failed, false, Plan::Wait, false),
            ("a request during our own backoff", &failed, true, Plan::List, true),
            ("a request during Linktree's Retry-After", &too_many, true, Plan::Wait, false),
        ] {
            let hold = hold(Some(at(1001)), Some(last_error), requested);
            let decided = decide(&spec, Token::Present, &state(Some(at(999)), requested, hold), at(1000));
            assert_eq!((decided, handles_request(decided, true)), (plan, handled), "{case}");
        }
        assert!(!handles_request(Plan::List, false), "a throttled list does not handle the request");
        assert!(handles_request(Plan::Nothing, false));
        assert_eq!(decide(&spec, Token::Missing, &state(None, true, None), at(1000)), Plan::Nothing);
    }
}

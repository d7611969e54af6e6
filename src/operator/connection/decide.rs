//! Decides whether an account is to be listed now. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{api::connection::LinktreeConnectionSpec, linktree::error::ApiError};

/// Added to a time, so that it is over when it is looked at.
const A_MOMENT: Duration = Duration::from_millis(50);

/// What was found under the token's Secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Present,
    Missing,
    /// It holds characters that no token has.
    Unusable,
}

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// There is no account to ask.
    Nothing,
    /// The last list is recent enough, or Linktree is to be left alone for now.
    Wait,
    List,
}

impl Plan {
    /// Whether the webhooks of the connection see something else afterwards.
    #[must_use]
    pub fn changes_what_webhooks_see(self) -> bool {
        match self {
            Plan::Nothing | Plan::List => true,
            Plan::Wait => false,
        }
    }
}

/// Until when the account is left alone. A person who asks for a list does not wait for our own patience with failures,
/// only for Linktree's word and the budget.
#[must_use]
pub fn hold(hold_until: Option<Timestamp>, trouble: Option<&ApiError>, requested: bool) -> Option<Timestamp> {
    hold_until.filter(|_| !requested || matches!(trouble, Some(ApiError::TooManyRequests { .. })))
}

/// Whether a person's request for a list is handled: Linktree gave it a hearing, or there is no account to ask.
#[must_use]
pub fn handles_request(plan: Plan, heard: bool) -> bool {
    match plan {
        Plan::Nothing => true,
        Plan::Wait => false,
        Plan::List => heard,
    }
}

/// The last list of an account, and what a further one waits for.
#[derive(Clone, Debug, Default)]
pub struct ListState {
    /// Start of the last list.
    pub listed_at: Option<Timestamp>,
    /// Duration of the last list.
    pub took: Duration,
    /// A list is requested before the sync period ends.
    pub requested: bool,
    /// No request before this time.
    pub hold_until: Option<Timestamp>,
}

/// Decides whether to list the account now. The next list comes as early as [`pause`] allows.
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

/// From the beginning of a list to that of the next: what changes at Linktree is seen within a period, also where a list
/// takes long. `spread`, between 0 and 1, brings it forward by up to a tenth, so that many connections do not list at once.
#[must_use]
pub fn pause(period_seconds: i64, took: Duration, spread: f64) -> Duration {
    let period = Duration::from_secs(u64::try_from(period_seconds).unwrap_or(0));
    period.saturating_sub(took).max(period / 10).mul_f64(1.0 - 0.1 * spread)
}

/// How long until the next look: when Linktree is not to be left alone any more or else the next list is due, and before that
/// when what was announced of the budget has lapsed, which the status then takes back. `None` for as soon as what stands in
/// the way is out of it: the list is overdue, or was never made.
#[must_use]
pub fn next_reconcile(
    hold_until: Option<Timestamp>,
    list_due: Option<Timestamp>,
    reserved_until: Option<Timestamp>,
    now: Timestamp,
) -> Option<Duration> {
    let ahead = |at: Option<Timestamp>| at.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    let past = |ahead: Duration| ahead + A_MOMENT;
    let list = ahead(hold_until).map(past).or_else(|| ahead(list_due));
    [list, ahead(reserved_until).map(past)].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_takes_long_is_begun_earlier() {
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
    fn a_connection_is_looked_at_again_for_its_list_and_for_what_was_announced() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let past = |ahead| seconds(ahead).map(|ahead| ahead + A_MOMENT);
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
            let looked = next_reconcile(hold_until, list_due, reserved_until, at(1000));
            assert_eq!(looked, next, "{hold_until:?} {list_due:?} {reserved_until:?}");
        }
    }

    #[test]
    fn an_account_is_listed_once_per_period_or_when_asked_for_and_never_while_held() {
        let spec: LinktreeConnectionSpec =
            serde_json::from_value(serde_json::json!({"tokenSecretRef": {"name": "t"}})).unwrap();
        let cases = [
            ("never listed", None, false, None, Plan::List),
            ("listed just now", Some(at(1000)), false, None, Plan::Wait),
            ("a period ago", Some(at(1000 - spec.sync_period_seconds)), false, None, Plan::List),
            ("the clock was set back since", Some(at(2000)), false, None, Plan::List),
            ("listed just now, and asked for", Some(at(999)), true, None, Plan::List),
            ("asked for, but held", Some(at(999)), true, Some(at(1001)), Plan::Wait),
            ("the hold is over", None, false, Some(at(1000)), Plan::List),
        ];
        for (case, listed_at, wanted, hold, plan) in cases {
            assert_eq!(decide(&spec, Token::Present, &state(listed_at, wanted, hold), at(1000)), plan, "{case}");
        }
        let refused = ApiError::TooManyRequests { retry_after: None };
        let failed = ApiError::Server { status: 500, retry_after: None };
        for (sentence, trouble, requested, plan, handled) in [
            ("nobody asks", &failed, false, Plan::Wait, false),
            ("a person asks after failures", &failed, true, Plan::List, true),
            ("a person asks while Linktree wants peace", &refused, true, Plan::Wait, false),
        ] {
            let hold = hold(Some(at(1001)), Some(trouble), requested);
            let decided = decide(&spec, Token::Present, &state(Some(at(999)), requested, hold), at(1000));
            assert_eq!((decided, handles_request(decided, true)), (plan, handled), "{sentence}");
        }
        assert!(!handles_request(Plan::List, false), "it was not its turn");
        assert!(handles_request(Plan::Nothing, false));
        assert_eq!(decide(&spec, Token::Missing, &state(None, true, None), at(1000)), Plan::Nothing);
    }
}

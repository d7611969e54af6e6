//! Decides whether an account is to be listed now. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{api::connection::LinktreeConnectionSpec, linktree::error::ApiError};

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

/// Whether a person's request for a list is handled: it was tried, or there is no account to try.
#[must_use]
pub fn handles_request(plan: Plan, trouble: Option<&ApiError>) -> bool {
    match plan {
        Plan::Nothing => true,
        Plan::Wait => false,
        Plan::List => !matches!(trouble, Some(ApiError::TooManyRequests { .. })),
    }
}

/// The list comes a tenth of the period early at most, which is how the looks are spread.
#[must_use]
pub fn decide(
    spec: &LinktreeConnectionSpec,
    token: Token,
    listed_at: Option<Timestamp>,
    list_wanted: bool,
    hold_until: Option<Timestamp>,
    now: Timestamp,
) -> Plan {
    match token {
        Token::Missing | Token::Unusable => return Plan::Nothing,
        Token::Present => {}
    }
    if hold_until.is_some_and(|until| now < until) {
        return Plan::Wait;
    }
    let earliest = SignedDuration::from_millis(spec.sync_period_seconds.saturating_mul(900));
    let due = listed_at.is_none_or(|listed_at| now.duration_since(listed_at) >= earliest || now < listed_at);
    if due || list_wanted { Plan::List } else { Plan::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_account_is_listed_once_per_period_or_when_asked_for_and_never_while_held() {
        let spec: LinktreeConnectionSpec =
            serde_json::from_value(serde_json::json!({"tokenSecretRef": {"name": "t"}})).unwrap();
        let cases = [
            ("never listed", None, false, None, Plan::List),
            ("listed just now", Some(at(1000)), false, None, Plan::Wait),
            ("a period ago", Some(at(700)), false, None, Plan::List),
            ("the clock was set back since", Some(at(2000)), false, None, Plan::List),
            ("listed just now, and asked for", Some(at(999)), true, None, Plan::List),
            ("asked for, but held", Some(at(999)), true, Some(at(1001)), Plan::Wait),
            ("the hold is over", None, false, Some(at(1000)), Plan::List),
        ];
        for (case, listed_at, wanted, hold, plan) in cases {
            assert_eq!(decide(&spec, Token::Present, listed_at, wanted, hold, at(1000)), plan, "{case}");
        }
        let refused = ApiError::TooManyRequests { retry_after: None };
        let failed = ApiError::Server { status: 500, retry_after: None };
        for (sentence, trouble, requested, plan, handled) in [
            ("nobody asks", &failed, false, Plan::Wait, false),
            ("a person asks after failures", &failed, true, Plan::List, true),
            ("a person asks while Linktree wants peace", &refused, true, Plan::Wait, false),
        ] {
            let hold = hold(Some(at(1001)), Some(trouble), requested);
            let decided = decide(&spec, Token::Present, Some(at(999)), requested, hold, at(1000));
            assert_eq!((decided, handles_request(decided, Some(trouble))), (plan, handled), "{sentence}");
        }
        assert!(!handles_request(Plan::List, Some(&refused)), "the budget was used up");
        assert!(handles_request(Plan::Nothing, None));
        assert_eq!(decide(&spec, Token::Missing, None, true, None, at(1000)), Plan::Nothing);
    }
}

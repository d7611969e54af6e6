//! What a connection's conditions say of its token and its account.

use serde_json::json;

use super::*;
use crate::operator::account::tests::{account, snapshot};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn connection() -> LinktreeConnection {
    serde_json::from_value(json!({
        "apiVersion": "webhooks.linktree-operator.dev/v1alpha1",
        "kind": "LinktreeConnection",
        "metadata": {"name": "brand", "namespace": "marketing", "generation": 3},
        "spec": {"tokenSecretRef": {"name": "linktree-api"}},
    }))
    .unwrap()
}

fn status(token: Token, account: Option<&Account>) -> LinktreeConnectionStatus {
    let (connection, now) = (connection(), at(1_000));
    Report {
        connection: &connection,
        token,
        account,
        webhooks: &[],
        webhooks_sharing: &[],
        handled_sync_request: None,
        now,
    }
    .status()
}

/// The reasons of Ready and TokenAccepted, and which kstatus condition there is.
fn summary(status: &LinktreeConnectionStatus) -> (String, String, Option<String>) {
    let of = |of| conditions::find(&status.conditions, of);
    let told = |of_type| of(of_type).map(|it| format!("{} {}", it.status, it.reason)).unwrap();
    let kstatus = [ConditionType::Reconciling, ConditionType::Stalled].into_iter().filter_map(of);
    let kstatus: Vec<_> = kstatus.map(|it| it.type_.clone()).collect();
    assert!(kstatus.len() <= 1, "{kstatus:?}");
    (told(ConditionType::Ready), told(ConditionType::TokenAccepted), kstatus.into_iter().next())
}

#[test]
fn trouble_with_the_account_is_told_and_so_is_whether_it_passes() {
    let message = || String::from("no");
    let cases = [
        (ApiError::TokenRejected { message: message() }, "False TokenRejected", "False TokenRejected", "Stalled"),
        (
            ApiError::PlanExcludesWebhooks { message: message() },
            "False PlanExcludesWebhooks",
            "True Available",
            "Stalled",
        ),
        (ApiError::TooManyRequests { retry_after: None }, "False QuotaExhausted", "True Available", "Reconciling"),
        (
            ApiError::Server { status: 502, retry_after: None },
            "False LinktreeUnavailable",
            "True Available",
            "Reconciling",
        ),
        (ApiError::Unreadable { problem: message() }, "False LinktreeUnavailable", "True Available", "Reconciling"),
    ];
    for (error, ready, token, kstatus) in cases {
        let account = account(10);
        account.listed(snapshot(900, &["a"]));
        account.list_failed(error.clone(), at(950));
        let expected = (ready.to_owned(), token.to_owned(), Some(kstatus.to_owned()));
        assert_eq!(summary(&status(Token::Present, Some(&account))), expected, "{error}");
    }
}

#[test]
fn a_token_that_is_not_there_or_cannot_be_one_is_asked_for_by_place() {
    for (token, reason, words) in [
        (Token::Missing, "False TokenMissing", "put the API token into key token of Secret linktree-api"),
        (Token::Unusable, "False TokenRejected", "key token of Secret linktree-api holds characters"),
    ] {
        let status = status(token, None);
        assert_eq!(summary(&status), (reason.to_owned(), reason.to_owned(), Some("Stalled".to_owned())));
        let ready = conditions::find(&status.conditions, ConditionType::Ready).unwrap();
        assert!(ready.message.starts_with(words), "{}", ready.message);
    }
}

#[test]
fn an_account_is_ready_once_it_was_listed() {
    let account = account(10);
    let pending = ("False Pending".to_owned(), "Unknown Pending".to_owned(), Some("Reconciling".to_owned()));
    assert_eq!(summary(&status(Token::Present, Some(&account))), pending);
    account.listed(snapshot(900, &["a", "b"]));
    let status = status(Token::Present, Some(&account));
    assert_eq!(summary(&status), ("True Available".to_owned(), "True Available".to_owned(), None));
    let counts = status.subscriptions.unwrap();
    assert_eq!((counts.managed, counts.unmanaged), (0, 2));
    assert_eq!((status.account.unwrap().id, status.observed_generation), ("acc_1".to_owned(), Some(3)));
    assert_eq!(status.request_budget.unwrap().remaining, 10);
}

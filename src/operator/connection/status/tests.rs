//! Tests of a connection's conditions, by the state of its token and account.

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

/// Status and reason of Ready and of TokenAccepted, and the kstatus condition, if any.
fn summary(status: &LinktreeConnectionStatus) -> (String, String, Option<String>) {
    let find = |condition_type| conditions::find(&status.conditions, condition_type);
    let summary = |condition_type| find(condition_type).map(|it| format!("{} {}", it.status, it.reason)).unwrap();
    let kstatus = [ConditionType::Reconciling, ConditionType::Stalled].into_iter().filter_map(find);
    let kstatus: Vec<_> = kstatus.map(|it| it.type_.clone()).collect();
    assert!(kstatus.len() <= 1, "{kstatus:?}");
    (summary(ConditionType::Ready), summary(ConditionType::TokenAccepted), kstatus.into_iter().next())
}

#[test]
fn an_account_error_sets_the_reason_and_reconciling_or_stalled() {
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
fn a_missing_or_unusable_token_is_reported_with_its_secret_and_key() {
    for (token, reason, prefix) in [
        (Token::Missing, "False TokenMissing", "no API token in key token of Secret linktree-api"),
        (
            Token::Unusable,
            "False TokenRejected",
            "the API token in key token of Secret linktree-api contains characters",
        ),
    ] {
        let status = status(token, None);
        assert_eq!(summary(&status), (reason.to_owned(), reason.to_owned(), Some("Stalled".to_owned())));
        let ready = conditions::find(&status.conditions, ConditionType::Ready).unwrap();
        assert!(ready.message.starts_with(prefix), "{}", ready.message);
    }
}

#[test]
fn a_connection_is_ready_after_the_first_list() {
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

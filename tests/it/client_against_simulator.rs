//! The client and the simulator agree on the contract: every call, every error, every fault.

use std::time::Duration;

use linktree_operator::linktree::{
    client::{Linktree, list_all},
    error::{ApiError, RetryClass},
    event::EventType,
    wire::{CreateSubscription, Subscription, SubscriptionId, SubscriptionStatus, UpdateSubscription},
};
use serde_json::{Value, json};

use crate::simulator::{DEADLINE, Simulator};

const TOKEN: &str = "lt_test_demo";

fn registration(n: usize) -> CreateSubscription {
    let url = format!("https://hooks.example.com/h/{n}");
    CreateSubscription { url, events: vec![EventType::LinkCreated, EventType::AnalyticsMilestone] }
}

fn no_such() -> SubscriptionId {
    SubscriptionId("wh_none".into())
}

#[tokio::test]
async fn a_subscription_lives_through_every_call() {
    let simulator = Simulator::start(&[]).await;
    let linktree = simulator.client(TOKEN);
    let account = linktree.account().await.unwrap();
    assert_eq!((account.id.as_str(), account.plan.as_deref()), ("acc_demo", Some("Pro")));
    assert_eq!(linktree.take_remaining_requests(), Some(99));

    let created = linktree.create(&registration(1)).await.unwrap();
    assert_eq!(linktree.take_remaining_requests(), Some(9));
    assert!(created.signing_secret.is_some());
    assert_eq!((created.status, &created.url), (Some(SubscriptionStatus::Active), &registration(1).url));

    let shown = linktree.get(&created.id).await.unwrap();
    assert_eq!(shown, Subscription { signing_secret: None, ..created.clone() });
    assert_eq!(list_all(&linktree).await.unwrap(), std::slice::from_ref(&shown));

    let change = UpdateSubscription { events: Some(vec![EventType::ProfileUpdated]), ..Default::default() };
    let updated = linktree.update(&created.id, &change).await.unwrap();
    assert_eq!(updated, Subscription { events: vec![EventType::ProfileUpdated], ..shown });

    assert_ne!(Some(linktree.rotate_secret(&created.id).await.unwrap()), created.signing_secret);
    linktree.delete(&created.id).await.unwrap();
    assert_eq!(linktree.delete(&created.id).await, Err(ApiError::NotFound));
    assert_eq!(linktree.get(&created.id).await, Err(ApiError::NotFound));
}

#[tokio::test]
async fn every_rejection_has_its_error() {
    let simulator = Simulator::start(&["--no-rate-limit"]).await;
    let linktree = simulator.client(TOKEN);
    linktree.create(&registration(1)).await.unwrap();
    let kind = |result: Result<Subscription, ApiError>| result.unwrap_err().kind();
    let http = CreateSubscription { url: "http://hooks.example.com/h/1".into(), ..registration(1) };
    let unknown = CreateSubscription { events: vec!["link.exploded".parse().unwrap()], ..registration(2) };
    assert_eq!(kind(linktree.create(&registration(1)).await), "conflict");
    assert_eq!(kind(linktree.create(&http).await), "invalid");
    assert_eq!(kind(linktree.create(&unknown).await), "invalid");
    assert_eq!(linktree.list_page(Some("nonsense")).await.unwrap_err().kind(), "invalid");
    assert_eq!(kind(linktree.update(&no_such(), &UpdateSubscription::default()).await), "not_found");
    assert_eq!(linktree.rotate_secret(&no_such()).await.unwrap_err(), ApiError::NotFound);
    assert_eq!(kind(simulator.client("lt_test_free").create(&registration(3)).await), "plan_excludes_webhooks");
    let error = simulator.client("lt_test_revoked").account().await.unwrap_err();
    assert_eq!(error.kind(), "token_rejected");
    assert!(!error.to_string().contains("lt_test_revoked"));
}

#[tokio::test]
async fn one_account_does_not_see_another() {
    let accounts = ["--account=name=a,token=t1,token=t2", "--account=name=b,token=t3"];
    let simulator = Simulator::start(&accounts).await;
    let created = simulator.client("t1").create(&registration(1)).await.unwrap();
    assert!(simulator.client("t2").get(&created.id).await.is_ok());
    assert_eq!(simulator.client("t3").get(&created.id).await, Err(ApiError::NotFound));
    assert_eq!(list_all(&simulator.client("t3")).await, Ok(vec![]));
    assert!(simulator.client("t3").create(&registration(1)).await.is_ok());
}

#[tokio::test]
async fn a_list_of_several_pages_is_complete() {
    let simulator = Simulator::start(&["--no-rate-limit"]).await;
    let linktree = simulator.client(TOKEN);
    for n in 0..205 {
        linktree.create(&registration(n)).await.unwrap();
    }
    let (page, next) = linktree.list_page(None).await.unwrap();
    assert_eq!((page.len(), next.is_some()), (100, true));
    let urls: Vec<_> = list_all(&linktree).await.unwrap().into_iter().map(|it| it.url).collect();
    assert_eq!(urls, (0..205).map(|n| registration(n).url).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_budget_is_exhausted_and_reset_after_a_minute() {
    let simulator = Simulator::start(&[]).await;
    let linktree = simulator.client(TOKEN);
    for _ in 0..10 {
        assert_eq!(linktree.get(&no_such()).await, Err(ApiError::NotFound));
    }
    let error = linktree.get(&no_such()).await.unwrap_err();
    let RetryClass::Transient { after: Some(after) } = error.retry_class() else { panic!("{error:?}") };
    assert!((50..=60).contains(&after.as_secs()), "{after:?}");
    assert_eq!(linktree.take_remaining_requests(), Some(0));
    simulator.advance(after.as_secs()).await;
    assert_eq!(linktree.get(&no_such()).await, Err(ApiError::NotFound));
    assert_eq!(linktree.take_remaining_requests(), Some(9));
}

#[tokio::test]
async fn each_fault_maps_to_its_error() {
    let simulator = Simulator::start(&["--no-rate-limit"]).await;
    let linktree = simulator.client(TOKEN);
    for (n, (fault, kind, created)) in [
        (json!({"kind": "status", "status": 503, "retry_after": "7"}), "server", false),
        (json!({"kind": "status", "status": 429, "retry_after": "7"}), "too_many_requests", false),
        (json!({"kind": "status", "status": 404}), "unsupported", false),
        (json!({"kind": "status", "status": 405}), "unsupported", false),
        (json!({"kind": "html"}), "unreadable", false),
        (json!({"kind": "truncate"}), "unreadable", true),
        (json!({"kind": "drop-before"}), "unreachable", false),
        (json!({"kind": "drop-after"}), "unreachable", true),
    ]
    .into_iter()
    .enumerate()
    {
        let mut rule = fault.clone();
        rule["method"] = "POST".into();
        rule["path"] = "/v1/webhooks".into();
        rule["times"] = 1.into();
        simulator.control("POST", "/faults/api", rule).await;
        let error = linktree.create(&registration(n)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault}: {error:?}");
        let there = list_all(&linktree).await.unwrap().iter().any(|it| it.url == registration(n).url);
        assert_eq!(there, created, "{fault}");
        assert!(!created || error.may_have_taken_effect(), "{fault}: {error:?}");
        if fault["retry_after"].is_string() {
            assert_eq!(error.retry_class(), RetryClass::Transient { after: Some(Duration::from_secs(7)) });
        }
    }
}

#[tokio::test]
async fn a_slow_response_times_out_though_the_call_took_effect() {
    let simulator = Simulator::start(&[]).await;
    let linktree = simulator.client(TOKEN);
    simulator.control("POST", "/faults/api", json!({"kind": "delay", "milliseconds": 60_000, "times": 1})).await;
    let error = linktree.create(&registration(1)).await.unwrap_err();
    assert_eq!(error, ApiError::TimedOut { after: DEADLINE });
    assert!(error.may_have_taken_effect());
    assert_eq!(list_all(&linktree).await.unwrap().len(), 1, "the fault was for one call");
}

#[tokio::test]
async fn calls_are_logged_without_the_token() {
    let simulator = Simulator::start(&[]).await;
    simulator.client(TOKEN).account().await.unwrap();
    simulator.client("lt_test_wrong").account().await.unwrap_err();
    simulator.client(TOKEN).list_page(None).await.unwrap();
    let log = simulator.control("GET", "/calls?since=1", Value::Null).await;
    let seen: Vec<_> =
        log["calls"].as_array().unwrap().iter().map(|it| json!([it["path"], it["status"], it["account"]])).collect();
    assert_eq!(seen, [json!(["/v1/me", 401, null]), json!(["/v1/webhooks?limit=100", 200, "acc_demo"])]);
    assert!(!log.to_string().contains("lt_test_"));
}

#[tokio::test]
async fn out_of_band_changes_are_visible_through_the_api() {
    let simulator = Simulator::start(&[]).await;
    let linktree = simulator.client(TOKEN);
    let created = linktree.create(&registration(1)).await.unwrap();
    let path = format!("/subscriptions/{}", created.id);
    simulator.control("PATCH", &path, json!({"status": "disabled"})).await;
    let disabled = linktree.get(&created.id).await.unwrap();
    assert_eq!(disabled.status, Some(SubscriptionStatus::Disabled));
    assert_eq!(disabled.disabled_reason.as_deref(), Some("requested"));
    let enable = UpdateSubscription { status: Some(SubscriptionStatus::Active), ..Default::default() };
    assert_eq!(linktree.update(&created.id, &enable).await.unwrap().status, Some(SubscriptionStatus::Active));
    simulator.control("POST", "/subscriptions", json!({"url": created.url, "events": ["link.created"]})).await;
    assert_eq!(list_all(&linktree).await.unwrap().len(), 2, "the same url twice");
    simulator.control("DELETE", &path, Value::Null).await;
    assert_eq!(linktree.get(&created.id).await, Err(ApiError::NotFound));
}

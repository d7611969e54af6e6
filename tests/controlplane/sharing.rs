//! Connections with the same token share one account: one list, one budget, and the webhooks of both are managed.

use linktree_operator::api::connection::LinktreeConnection;
use serde_json::json;

use crate::{
    harness::{object, scenario},
    wait::until,
};

#[tokio::test]
async fn two_connections_with_one_token_share_list_and_budget() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let lists = |calls: &[String]| calls.iter().filter(|call| call.as_str() == "GET /v1/webhooks").count();
        let spec = json!({
            "baseURL": harness.linktree.base_url(),
            "tokenSecretRef": {"name": "linktree-api"},
            "requestBudget": {"requestsPerMinute": 20},
            "syncPeriodSeconds": 86400,
        });
        let before = harness.last_call().await;
        harness.create::<LinktreeConnection>(object("LinktreeConnection", "second", spec)).await.unwrap();
        let api = harness.api::<LinktreeConnection>();
        until("the second connection has its account", async || {
            api.get("second").await.unwrap().status.is_some_and(|status| status.account.is_some())
        })
        .await;
        let second = api.get("second").await.unwrap().status.unwrap();
        let counts = second.subscriptions.unwrap();
        assert_eq!((counts.managed, counts.unmanaged), (0, 0), "a webhook of the first connection counts as unmanaged");
        let calls = harness.calls_since(before).await;
        assert!(!calls.iter().any(|call| call == "GET /v1/me") && lists(&calls) <= 1, "{calls:?}");

        until("the smaller budget applies to both", async || {
            let metrics = harness.operator.admin("/metrics").await;
            metrics.contains("linktree_operator_budget_requests 20\n")
        })
        .await;
        assert_eq!(harness.connection().await.status.unwrap().subscriptions.unwrap().managed, 1);
    })
    .await;
}

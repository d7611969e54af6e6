//! The output of `kubectl get ltw -o wide` during an outage: the cause, its start, its consequence and deadline, and
//! the recovery.

use linktree_operator::api::connection::LinktreeConnection;
use serde_json::json;

use crate::{
    harness::{Harness, scenario},
    registration::columns,
    wait::until_some,
};

const DAY: u64 = 24 * 3600;

async fn list_now(harness: &Harness, request: &str) {
    harness.request_sync::<LinktreeConnection>("brand", request).await;
}

/// Waits until READY and STATE have these values and the message contains these words; returns the message.
async fn until_printed(harness: &Harness, ready: &str, state: &str, words: &[&str]) -> String {
    until_some(&format!("{ready} {state} {words:?} is printed"), async || {
        let row = columns(harness, "linktreewebhooks").await;
        let message = row["Message"].as_str().unwrap_or_default();
        let matches =
            row["Ready"] == ready && row["State"] == state && words.iter().all(|words| message.contains(words));
        assert!(!matches || row["Since"].is_string(), "{row:?}");
        matches.then(|| message.to_owned())
    })
    .await
}

#[tokio::test]
async fn the_printed_message_follows_an_outage_from_start_to_recovery() {
    scenario(async |harness| {
        let mut node = harness.settled("links").await;
        node.stop().await;
        until_printed(harness, "False", "Enabled", &["pod links-receiver-0 is not ready"]).await;

        let link = json!({"title": "Shop", "url": "https://shop.example.com"});
        harness.linktree.control("POST", "/links", link).await;
        harness.linktree.advance(DAY).await;
        list_now(harness, "1").await;
        let words =
            ["pod links-receiver-0 is not ready", "deliveries have failed since", "disables the subscription at"];
        let message = until_printed(harness, "False", "Enabled", &words).await;
        let deadline = harness.status("links").await.subscription.unwrap().disable_deadline_time.unwrap();
        assert!(message.contains(&deadline.0.to_string()), "{message}");

        harness.linktree.advance(2 * DAY + 3600).await;
        list_now(harness, "2").await;
        let words = ["pod links-receiver-0 is not ready", "Linktree has sent nothing since", "events are being lost"];
        until_printed(harness, "False", "Disabled", &words).await;

        node.start().await;
        until_printed(harness, "True", "Enabled", &["accepted and stored"]).await;
        let row = |ready: &str, reason: &str, state: &str| (ready.to_owned(), reason.to_owned(), state.to_owned());
        let expected = [
            row("True", "Available", "Enabled"),
            row("False", "Progressing", "Enabled"),
            row("False", "Progressing", "Disabled"),
            row("True", "Available", "Enabled"),
        ];
        let printed = harness.history.printed();
        let mut rest = printed.iter();
        assert!(expected.iter().all(|row| rest.any(|printed| printed == row)), "{printed:?}");
    })
    .await;
}

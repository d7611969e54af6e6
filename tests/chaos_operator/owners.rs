//! The owner of a subscription: a connection whose token becomes another account's, and webhooks that name one id.

use serde_json::json;

use crate::{
    cluster::Cluster,
    gate::Peer,
    linktree::{ACCOUNT, OTHER_TOKEN, SECOND_TOKEN, TOKEN},
    time,
};

fn simulated(case: impl Future<Output = Result<(), String>>) {
    if let Err(problem) = time::simulated(case) {
        panic!("{problem}");
    }
}

fn set_token(cluster: &Cluster, token: &str) {
    cluster.put_secret("linktree-api", "token", token);
}

/// The ids of the subscriptions by account: of `acc_1`, and of all others.
fn by_account(cluster: &Cluster) -> (Vec<String>, Vec<String>) {
    let (own, others): (Vec<_>, Vec<_>) =
        cluster.linktree.subscriptions().into_iter().partition(|known| known.account == ACCOUNT);
    let ids = |known: Vec<linktree_operator::simulator::state::subscriptions::Subscription>| {
        known.into_iter().map(|known| known.id.0).collect()
    };
    (ids(own), ids(others))
}

/// The notes of the Events with this reason.
fn notes(cluster: &Cluster, reason: &str) -> Vec<String> {
    let events = cluster.kubernetes.everything().into_iter().map(|(_, object)| object);
    let events = events.filter(|object| object["kind"] == "Event" && object["reason"] == reason);
    events.map(|event| event["note"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn until_gone(cluster: &Cluster, name: &str) -> Result<(), String> {
    cluster.until("the webhook is gone", || cluster.get("LinktreeWebhook", name).is_none()).await
}

#[test]
fn a_token_of_another_account_is_reported_and_nothing_is_registered_in_it() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        cluster.settled("links").await?;
        let before = by_account(&cluster);
        assert_eq!(cluster.status("links")["account"]["id"], "acc_1");
        set_token(&cluster, OTHER_TOKEN);
        cluster.until_condition("links", "Registered", "False AccountChanged").await?;
        time::pass(7200).await;
        assert_eq!(by_account(&cluster), before);
        let [note] = notes(&cluster, "AccountChanged").try_into().unwrap();
        assert!([before.0[0].as_str(), "acc_1", "acc_2"].iter().all(|part| note.contains(part)), "{note}");
        set_token(&cluster, TOKEN);
        cluster.until_condition("links", "Ready", "True").await?;
        assert_eq!(by_account(&cluster), before);
        Ok(())
    });
}

#[test]
fn after_a_change_of_account_the_old_subscription_is_deleted_with_the_webhook_if_it_can_be() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        cluster.settled("links").await?;
        set_token(&cluster, OTHER_TOKEN);
        cluster.until_condition("links", "Registered", "False AccountChanged").await?;
        cluster.delete("LinktreeWebhook", "links");
        until_gone(&cluster, "links").await?;
        assert_eq!(by_account(&cluster), (vec![], vec![]), "the operator still has the old token");
        Ok(())
    });
}

#[test]
fn after_a_change_of_account_and_a_restart_the_orphan_is_named() {
    simulated(async {
        let mut cluster = Cluster::start(1, 1);
        cluster.settled("links").await?;
        let before = by_account(&cluster);
        set_token(&cluster, OTHER_TOKEN);
        cluster.restart_operators().await;
        cluster.until_condition("links", "Registered", "False AccountChanged").await?;
        cluster.delete("LinktreeWebhook", "links");
        until_gone(&cluster, "links").await?;
        assert_eq!(by_account(&cluster), before);
        let [note] = notes(&cluster, "OrphanReleased").try_into().unwrap();
        assert!(note.contains(&format!("{} of account acc_1", before.0[0])), "{note}");
        Ok(())
    });
}

#[test]
fn another_token_of_the_same_account_changes_nothing() {
    simulated(async {
        let mut cluster = Cluster::start(1, 1);
        cluster.settled("links").await?;
        let before = (by_account(&cluster), cluster.status("links")["account"]["tokenDigest"].clone());
        set_token(&cluster, SECOND_TOKEN);
        let is_remembered = || cluster.status("links")["account"]["tokenDigest"] != before.1;
        cluster.until("the new token is remembered", is_remembered).await?;
        cluster.restart_operators().await;
        time::pass(600).await;
        assert_eq!(by_account(&cluster), before.0);
        cluster.until_condition("links", "Ready", "True").await
    });
}

#[test]
fn of_two_webhooks_with_one_id_the_older_owns_the_subscription() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        cluster.connect();
        let id = cluster.linktree.add("https://hooks.example.com/elsewhere", &["link.created"]).0;
        let by_id = |spec: &mut serde_json::Value| {
            spec["subscription"] = json!({"adoptionPolicy": "ByID", "id": id});
        };
        cluster.webhook("older", by_id);
        time::pass(2).await;
        cluster.webhook("newer", by_id);
        cluster.until_condition("older", "Ready", "True").await?;
        cluster.until_condition("newer", "Registered", "False Conflict").await?;
        let status = cluster.status("newer");
        let conditions = status["conditions"].as_array().unwrap();
        let registered = conditions.iter().find(|it| it["type"] == "Registered").unwrap();
        assert!(registered["message"].as_str().unwrap().contains("marketing/older owns"), "{registered}");
        assert_eq!(status["subscription"]["id"], json!(null));
        let effects =
            || cluster.calls.made().into_iter().filter(|it| it.peer == Peer::Linktree && it.is_effect).count();
        let before = effects();
        time::pass(3600).await;
        assert_eq!(effects(), before, "two webhooks correct one subscription in turn");
        cluster.delete("LinktreeWebhook", "newer");
        until_gone(&cluster, "newer").await?;
        time::pass(60).await;
        assert_eq!(by_account(&cluster).0, std::slice::from_ref(&id), "it was not the owner");
        cluster.delete("LinktreeWebhook", "older");
        until_gone(&cluster, "older").await?;
        assert_eq!(by_account(&cluster).0, [""; 0]);
        Ok(())
    });
}

#[test]
fn the_reference_to_the_connection_cannot_be_changed() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        cluster.settled("links").await?;
        let refer_to = |name: &str| {
            let change = json!({"spec": {"connectionRef": {"name": name}}});
            cluster.change("LinktreeWebhook", "links", &change).map_err(|error| format!("{error:?}"))
        };
        let error = refer_to("other").err().unwrap_or_default();
        assert!(error.contains("connectionRef cannot be changed: delete this LinktreeWebhook"), "{error}");
        refer_to("brand").map(drop)
    });
}

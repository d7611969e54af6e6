//! Scenarios in the life of a webhook. Each is a sequence of events with a final state; faults are injected from
//! outside.

use linktree_operator::linktree::wire::{SubscriptionStatus, UpdateSubscription};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, ScenarioFuture, ScenarioResult},
    row::{self, Row},
    sample::sample,
    time,
};

pub struct Scenario {
    pub name: &'static str,
    pub run: for<'a> fn(&'a Cluster) -> ScenarioFuture<'a>,
}

impl Scenario {
    /// A process that starts without the token can only report the orphan.
    pub fn may_leave_orphans(&self) -> bool {
        self.name == "delete_with_the_token"
    }
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        pub static ALL: &[Scenario] = &[$(Scenario { name: stringify!($name), run: |cluster| Box::pin($name(cluster)) }),*];
    };
}

/// The scenarios of a run: all in a full run, otherwise a few drawn by its seed.
pub fn chosen(row: &Row) -> Vec<&'static Scenario> {
    let few = if row::full() { ALL.len() } else { 6 };
    sample(row, ALL.iter().collect(), few)
}

scenarios![
    register,
    named_keys,
    adopt,
    correct_drift,
    recover,
    rotate_by_hand,
    delete,
    delete_with_the_token,
    retain,
    key_change,
    sink_added,
    connection_recreated,
    bad_spec_between_good,
    observe_only,
    subscription_gone,
    two_webhooks,
    delete_before_registration,
    secret_lost,
    recreated,
    recreated_by_force,
    pause,
    ingress,
    route_instead_of_ingress,
];

async fn register(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await
}

/// The user provides the key; the registration's secret is not stored.
async fn named_keys(cluster: &Cluster) -> ScenarioResult {
    cluster.put_secret("keys", "k1", "whsec_mine");
    cluster.connect();
    cluster.webhook("links", |spec| spec["signing"] = json!({"keys": [key("k1")]}));
    cluster.until_condition("links", "Ready", "True").await
}

fn key(name: &str) -> Value {
    json!({"name": name, "secretRef": {"name": "keys", "key": name}})
}

/// A subscription with the webhook's url exists before the connection.
async fn adopt(cluster: &Cluster) -> ScenarioResult {
    cluster.webhook("links", |_| {});
    cluster.until("the webhook has a url", || !cluster.status("links")["address"]["url"].is_null()).await?;
    cluster.linktree.add(cluster.status("links")["address"]["url"].as_str().unwrap(), &["link.deleted"]);
    cluster.connect();
    cluster.until_condition("links", "Ready", "True").await?;
    cluster.until_condition("links", "UpToDate", "True").await
}

async fn correct_drift(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    let id = cluster.linktree.subscriptions()[0].id.clone();
    let events = Some(vec!["profile.updated".parse().unwrap()]);
    cluster.linktree.edit(&id, UpdateSubscription { events, ..UpdateSubscription::default() });
    cluster.until("the events are in sync", || cluster.linktree.subscriptions()[0].events.len() == 2).await
}

/// Disabled while the receiver is unreachable, and enabled again once it is reachable.
async fn recover(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    cluster.node.set_reachable(false);
    let id = cluster.linktree.subscriptions()[0].id.clone();
    cluster
        .linktree
        .edit(&id, UpdateSubscription { status: Some(SubscriptionStatus::Disabled), ..UpdateSubscription::default() });
    cluster.until_condition("links", "SubscriptionEnabled", "False").await?;
    time::pass(120).await;
    cluster.node.set_reachable(true);
    cluster
        .until("the subscription is enabled again", || cluster.linktree.subscriptions()[0].disabled.is_none())
        .await?;
    cluster.until_condition("links", "Ready", "True").await
}

/// The secret is rotated in the dashboard, and the user copies it into the Secret.
async fn rotate_by_hand(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    let id = cluster.linktree.subscriptions()[0].id.clone();
    cluster.linktree.set_secret(&id, "whsec_new");
    cluster.until("the secret is stored", || cluster.secret("links-signing", "secret").is_some()).await?;
    cluster.put_secret("links-signing", "secret", "whsec_new");
    time::pass(30).await;
    cluster.until_condition("links", "Ready", "True").await
}

async fn delete(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    cluster.delete("LinktreeWebhook", "links");
    cluster.until("the webhook is gone", || cluster.get("LinktreeWebhook", "links").is_none()).await
}

/// Webhook, connection and token are deleted at once, as by a namespace deletion.
async fn delete_with_the_token(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    cluster.delete("LinktreeWebhook", "links");
    cluster.delete("LinktreeConnection", "brand");
    cluster.delete("Secret", "linktree-api");
    cluster.until("the webhook is gone", || cluster.get("LinktreeWebhook", "links").is_none()).await
}

async fn retain(cluster: &Cluster) -> ScenarioResult {
    cluster.connect();
    cluster.webhook("links", |spec| spec["subscription"] = json!({"deletionPolicy": "Retain"}));
    cluster.until_condition("links", "Ready", "True").await?;
    cluster.delete("LinktreeWebhook", "links");
    cluster.until("the webhook is gone", || cluster.get("LinktreeWebhook", "links").is_none()).await
}

/// A second key is added, then the old one is removed.
async fn key_change(cluster: &Cluster) -> ScenarioResult {
    named_keys(cluster).await?;
    cluster.put_secret("keys", "k2", "whsec_other");
    for keys in [json!([key("k2"), key("k1")]), json!([key("k2")])] {
        let count = keys.as_array().unwrap().len();
        cluster.change("LinktreeWebhook", "links", &json!({"spec": {"signing": {"keys": keys}}})).unwrap();
        let digests = || cluster.status("links")["signing"]["keyDigests"].as_object().map_or(0, serde_json::Map::len);
        cluster.until("the status has the keys", || digests() == count).await?;
    }
    cluster.until_condition("links", "Ready", "True").await
}

async fn sink_added(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    let sink = |name: &str| json!({"name": name, "http": {"url": format!("https://{name}.example.com/in")}});
    cluster.change("LinktreeWebhook", "links", &json!({"spec": {"sinks": [sink("cms"), sink("audit")]}})).unwrap();
    cluster
        .until("the status has both sinks", || {
            cluster.status("links")["sinks"].as_array().is_some_and(|it| it.len() == 2)
        })
        .await
}

async fn connection_recreated(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    cluster.delete("LinktreeConnection", "brand");
    cluster.until_condition("links", "ConnectionReady", "False").await?;
    time::pass(60).await;
    cluster.connect();
    cluster.until_condition("links", "ConnectionReady", "True").await?;
    cluster.until_condition("links", "Ready", "True").await
}

async fn bad_spec_between_good(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    let set = |events: Value, filter: Value| {
        let sink =
            json!({"name": "cms", "http": {"url": "http://cms.marketing.svc.cluster.local/in"}, "filter": filter});
        cluster.change("LinktreeWebhook", "links", &json!({"spec": {"events": events, "sinks": [sink]}})).unwrap();
    };
    set(json!(["link.deleted"]), json!("event.("));
    cluster.until_condition("links", "Stalled", "True").await?;
    set(json!(["link.deleted"]), Value::Null);
    cluster
        .until("the valid spec has reached Linktree", || cluster.linktree.subscriptions()[0].events.len() == 1)
        .await?;
    cluster.until_condition("links", "Ready", "True").await
}

async fn observe_only(cluster: &Cluster) -> ScenarioResult {
    cluster.connect();
    cluster.webhook("links", |spec| spec["subscription"] = json!({"managementPolicy": "Observe"}));
    cluster.until("the status has a plan", || cluster.status("links")["subscription"]["plan"].is_array()).await?;
    cluster
        .change("LinktreeWebhook", "links", &json!({"spec": {"subscription": {"managementPolicy": "Manage"}}}))
        .unwrap();
    cluster.until_condition("links", "Ready", "True").await
}

/// Deleted in the dashboard, and recreated.
async fn subscription_gone(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    let id = cluster.linktree.subscriptions()[0].id.clone();
    cluster.linktree.remove(&id);
    cluster.until("there is another subscription", || !cluster.linktree.subscriptions().is_empty()).await?;
    cluster.until_condition("links", "Ready", "True").await
}

async fn two_webhooks(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    cluster.webhook("profile", |spec| spec["events"] = json!(["profile.updated"]));
    cluster.until_condition("profile", "Ready", "True").await?;
    cluster.delete("LinktreeWebhook", "links");
    cluster.until("the first webhook is gone", || cluster.get("LinktreeWebhook", "links").is_none()).await
}

async fn delete_before_registration(cluster: &Cluster) -> ScenarioResult {
    cluster.node.set_reachable(false);
    cluster.connect();
    cluster.webhook("links", |_| {});
    cluster.until_condition("links", "ReceiverAvailable", "True").await?;
    cluster.delete("LinktreeWebhook", "links");
    cluster.until("the webhook is gone", || cluster.get("LinktreeWebhook", "links").is_none()).await
}

/// The Secret with the signing secret is deleted: the operator rotates it at Linktree.
async fn secret_lost(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    cluster.until("the secret is stored", || cluster.secret("links-signing", "secret").is_some()).await?;
    cluster.delete("Secret", "links-signing");
    cluster.until("there is another subscription", || cluster.secret("links-signing", "secret").is_some()).await?;
    cluster.until_condition("links", "Ready", "True").await
}

/// Deleted, and recreated under the same name at once.
async fn recreated(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    let before = cluster.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"].clone();
    cluster.delete("LinktreeWebhook", "links");
    cluster.until("the webhook is gone", || cluster.get("LinktreeWebhook", "links").is_none()).await?;
    cluster.webhook("links", |_| {});
    let after = || cluster.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"].clone();
    cluster
        .until("the new webhook is ready", || {
            after() != before && cluster.condition("links", "Ready").starts_with("True")
        })
        .await
}

/// As [`recreated`], but with the finalizer removed by hand, so that the deletion is immediate.
async fn recreated_by_force(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    let before = cluster.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"].clone();
    cluster.change("LinktreeWebhook", "links", &json!({"metadata": {"finalizers": null}})).unwrap();
    cluster.delete("LinktreeWebhook", "links");
    cluster.webhook("links", |_| {});
    assert_ne!(cluster.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"], before);
    cluster.until_condition("links", "Ready", "True").await
}

/// Paused, changed manually meanwhile, and resumed.
async fn pause(cluster: &Cluster) -> ScenarioResult {
    cluster.settled("links").await?;
    cluster.change("LinktreeWebhook", "links", &json!({"spec": {"pause": "Reconciliation"}})).unwrap();
    time::pass(60).await;
    let id = cluster.linktree.subscriptions()[0].id.clone();
    let events = Some(vec!["profile.updated".parse().unwrap()]);
    cluster.linktree.edit(&id, UpdateSubscription { events, ..UpdateSubscription::default() });
    time::pass(120).await;
    cluster.change("LinktreeWebhook", "links", &json!({"spec": {"pause": "None"}})).unwrap();
    cluster.until("the events are in sync", || cluster.linktree.subscriptions()[0].events.len() == 2).await
}

fn exposed(spec: &mut Value, exposure: Value) {
    spec["endpoint"]["managed"]["exposure"] = exposure;
}

async fn ingress(cluster: &Cluster) -> ScenarioResult {
    cluster.connect();
    cluster.webhook("links", |spec| exposed(spec, json!({"type": "Ingress", "className": "nginx"})));
    cluster.until_condition("links", "Ready", "True").await
}

/// An HTTPRoute replaces an Ingress, and is deleted when the user provides the route.
async fn route_instead_of_ingress(cluster: &Cluster) -> ScenarioResult {
    ingress(cluster).await?;
    let exists = |kind: &str| cluster.get(kind, "links-receiver").is_some();
    for (exposure, routed) in [
        (json!({"type": "HTTPRoute", "className": null, "gatewayRef": {"name": "public", "namespace": "infra"}}), true),
        (json!({"type": "None", "gatewayRef": null}), false),
    ] {
        let change = json!({"spec": {"endpoint": {"managed": {"exposure": exposure}}}});
        cluster.change("LinktreeWebhook", "links", &change).unwrap();
        cluster.until("only the new object exposes it", || !exists("Ingress") && exists("HTTPRoute") == routed).await?;
    }
    cluster.until_condition("links", "Ready", "True").await
}

//! What happens to webhooks in their lives. Each scenario is a course of events that ends in a state of rest; faults are
//! added from outside.

use linktree_operator::linktree::wire::{SubscriptionStatus, UpdateSubscription};
use serde_json::{Value, json};

use crate::{
    row::{self, Row},
    sample::sample,
    time,
    world::{Course, Running, World},
};

pub struct Scenario {
    pub name: &'static str,
    pub run: for<'a> fn(&'a World) -> Running<'a>,
}

impl Scenario {
    /// A process that starts when the token is gone can do no more than to say what it leaves behind.
    pub fn may_leave_orphans(&self) -> bool {
        self.name == "delete_with_the_token"
    }
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        pub static ALL: &[Scenario] = &[$(Scenario { name: stringify!($name), run: |world| Box::pin($name(world)) }),*];
    };
}

/// Those that a run tries: all of them in a full one, a few by its seed otherwise.
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

async fn register(world: &World) -> Course {
    world.settled("links").await
}

/// The user names the key; the registration's own secret is not kept.
async fn named_keys(world: &World) -> Course {
    world.put_secret("keys", "k1", "whsec_mine");
    world.connect();
    world.webhook("links", |spec| spec["signing"] = json!({"keys": [key("k1")]}));
    world.until_condition("links", "Ready", "True").await
}

fn key(name: &str) -> Value {
    json!({"name": name, "secretRef": {"name": "keys", "key": name}})
}

/// A subscription with its url is there before the connection is.
async fn adopt(world: &World) -> Course {
    world.webhook("links", |_| {});
    world.until("it has a url", || !world.status("links")["address"]["url"].is_null()).await?;
    world.linktree.add(world.status("links")["address"]["url"].as_str().unwrap(), &["link.deleted"]);
    world.connect();
    world.until_condition("links", "Ready", "True").await?;
    world.until_condition("links", "UpToDate", "True").await
}

async fn correct_drift(world: &World) -> Course {
    world.settled("links").await?;
    let id = world.linktree.subscriptions()[0].id.clone();
    let events = Some(vec!["profile.updated".parse().unwrap()]);
    world.linktree.edit(&id, UpdateSubscription { events, ..UpdateSubscription::default() });
    world.until("the events are as they were", || world.linktree.subscriptions()[0].events.len() == 2).await
}

/// Disabled while nothing answers, and enabled again when something does.
async fn recover(world: &World) -> Course {
    world.settled("links").await?;
    world.node.reach(false);
    let id = world.linktree.subscriptions()[0].id.clone();
    world
        .linktree
        .edit(&id, UpdateSubscription { status: Some(SubscriptionStatus::Disabled), ..UpdateSubscription::default() });
    world.until_condition("links", "SubscriptionEnabled", "False").await?;
    time::pass(120).await;
    world.node.reach(true);
    world.until("Linktree sends again", || world.linktree.subscriptions()[0].disabled.is_none()).await?;
    world.until_condition("links", "Ready", "True").await
}

/// The secret is rotated in the dashboard, and copied into the Secret by a person.
async fn rotate_by_hand(world: &World) -> Course {
    world.settled("links").await?;
    let id = world.linktree.subscriptions()[0].id.clone();
    world.linktree.set_secret(&id, "whsec_new");
    world.until("the secret is kept", || world.secret("links-signing", "secret").is_some()).await?;
    world.put_secret("links-signing", "secret", "whsec_new");
    time::pass(30).await;
    world.until_condition("links", "Ready", "True").await
}

async fn delete(world: &World) -> Course {
    world.settled("links").await?;
    world.delete("LinktreeWebhook", "links");
    world.until("it is gone", || world.get("LinktreeWebhook", "links").is_none()).await
}

/// Everything at once, as a namespace goes.
async fn delete_with_the_token(world: &World) -> Course {
    world.settled("links").await?;
    world.delete("LinktreeWebhook", "links");
    world.delete("LinktreeConnection", "brand");
    world.delete("Secret", "linktree-api");
    world.until("it is gone", || world.get("LinktreeWebhook", "links").is_none()).await
}

async fn retain(world: &World) -> Course {
    world.connect();
    world.webhook("links", |spec| spec["subscription"] = json!({"deletionPolicy": "Retain"}));
    world.until_condition("links", "Ready", "True").await?;
    world.delete("LinktreeWebhook", "links");
    world.until("it is gone", || world.get("LinktreeWebhook", "links").is_none()).await
}

/// A second key comes first, then the old one goes.
async fn key_change(world: &World) -> Course {
    named_keys(world).await?;
    world.put_secret("keys", "k2", "whsec_other");
    for keys in [json!([key("k2"), key("k1")]), json!([key("k2")])] {
        let count = keys.as_array().unwrap().len();
        world.change("LinktreeWebhook", "links", &json!({"spec": {"signing": {"keys": keys}}})).unwrap();
        let digests = || world.status("links")["signing"]["keyDigests"].as_object().map_or(0, serde_json::Map::len);
        world.until("the keys are known", || digests() == count).await?;
    }
    world.until_condition("links", "Ready", "True").await
}

async fn sink_added(world: &World) -> Course {
    world.settled("links").await?;
    let sink = |name: &str| json!({"name": name, "http": {"url": format!("https://{name}.example.com/in")}});
    world.change("LinktreeWebhook", "links", &json!({"spec": {"sinks": [sink("cms"), sink("audit")]}})).unwrap();
    world.until("both are reported", || world.status("links")["sinks"].as_array().is_some_and(|it| it.len() == 2)).await
}

async fn connection_recreated(world: &World) -> Course {
    world.settled("links").await?;
    world.delete("LinktreeConnection", "brand");
    world.until_condition("links", "ConnectionReady", "False").await?;
    time::pass(60).await;
    world.connect();
    world.until_condition("links", "ConnectionReady", "True").await?;
    world.until_condition("links", "Ready", "True").await
}

async fn bad_spec_between_good(world: &World) -> Course {
    world.settled("links").await?;
    let set = |events: Value, filter: Value| {
        let sink =
            json!({"name": "cms", "http": {"url": "http://cms.marketing.svc.cluster.local/in"}, "filter": filter});
        world.change("LinktreeWebhook", "links", &json!({"spec": {"events": events, "sinks": [sink]}})).unwrap();
    };
    set(json!(["link.deleted"]), json!("event.("));
    world.until_condition("links", "Stalled", "True").await?;
    set(json!(["link.deleted"]), Value::Null);
    world.until("the good one has reached Linktree", || world.linktree.subscriptions()[0].events.len() == 1).await?;
    world.until_condition("links", "Ready", "True").await
}

async fn observe_only(world: &World) -> Course {
    world.connect();
    world.webhook("links", |spec| spec["subscription"] = json!({"managementPolicy": "Observe"}));
    world.until("it says what it would do", || world.status("links")["subscription"]["plan"].is_array()).await?;
    world
        .change("LinktreeWebhook", "links", &json!({"spec": {"subscription": {"managementPolicy": "Manage"}}}))
        .unwrap();
    world.until_condition("links", "Ready", "True").await
}

/// Deleted in the dashboard, and made again.
async fn subscription_gone(world: &World) -> Course {
    world.settled("links").await?;
    let id = world.linktree.subscriptions()[0].id.clone();
    world.linktree.remove(&id);
    world.until("there is another", || !world.linktree.subscriptions().is_empty()).await?;
    world.until_condition("links", "Ready", "True").await
}

async fn two_webhooks(world: &World) -> Course {
    world.settled("links").await?;
    world.webhook("profile", |spec| spec["events"] = json!(["profile.updated"]));
    world.until_condition("profile", "Ready", "True").await?;
    world.delete("LinktreeWebhook", "links");
    world.until("one is gone", || world.get("LinktreeWebhook", "links").is_none()).await
}

async fn delete_before_registration(world: &World) -> Course {
    world.node.reach(false);
    world.connect();
    world.webhook("links", |_| {});
    world.until_condition("links", "ReceiverAvailable", "True").await?;
    world.delete("LinktreeWebhook", "links");
    world.until("it is gone", || world.get("LinktreeWebhook", "links").is_none()).await
}

/// The Secret with the signing secret is deleted: Linktree is asked for another.
async fn secret_lost(world: &World) -> Course {
    world.settled("links").await?;
    world.until("the secret is kept", || world.secret("links-signing", "secret").is_some()).await?;
    world.delete("Secret", "links-signing");
    world.until("there is another", || world.secret("links-signing", "secret").is_some()).await?;
    world.until_condition("links", "Ready", "True").await
}

/// Deleted, and at once there again under the same name.
async fn recreated(world: &World) -> Course {
    world.settled("links").await?;
    let before = world.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"].clone();
    world.delete("LinktreeWebhook", "links");
    world.until("it is gone", || world.get("LinktreeWebhook", "links").is_none()).await?;
    world.webhook("links", |_| {});
    let after = || world.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"].clone();
    world
        .until("the new one is settled", || after() != before && world.condition("links", "Ready").starts_with("True"))
        .await
}

/// As [`recreated`], but somebody takes the finalizer off, and it is all over in a moment.
async fn recreated_by_force(world: &World) -> Course {
    world.settled("links").await?;
    let before = world.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"].clone();
    world.change("LinktreeWebhook", "links", &json!({"metadata": {"finalizers": null}})).unwrap();
    world.delete("LinktreeWebhook", "links");
    world.webhook("links", |_| {});
    assert_ne!(world.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"], before);
    world.until_condition("links", "Ready", "True").await
}

/// Paused, changed by hand meanwhile, and going on.
async fn pause(world: &World) -> Course {
    world.settled("links").await?;
    world.change("LinktreeWebhook", "links", &json!({"spec": {"pause": "Reconciliation"}})).unwrap();
    time::pass(60).await;
    let id = world.linktree.subscriptions()[0].id.clone();
    let events = Some(vec!["profile.updated".parse().unwrap()]);
    world.linktree.edit(&id, UpdateSubscription { events, ..UpdateSubscription::default() });
    time::pass(120).await;
    world.change("LinktreeWebhook", "links", &json!({"spec": {"pause": "None"}})).unwrap();
    world.until("the events are as they were", || world.linktree.subscriptions()[0].events.len() == 2).await
}

fn exposed(spec: &mut Value, exposure: Value) {
    spec["endpoint"]["managed"]["exposure"] = exposure;
}

async fn ingress(world: &World) -> Course {
    world.connect();
    world.webhook("links", |spec| exposed(spec, json!({"type": "Ingress", "className": "nginx"})));
    world.until_condition("links", "Ready", "True").await
}

/// An HTTPRoute takes the place of an Ingress, and goes when a person makes the way.
async fn route_instead_of_ingress(world: &World) -> Course {
    ingress(world).await?;
    let there = |kind: &str| world.get(kind, "links-receiver").is_some();
    for (exposure, routed) in [
        (json!({"type": "HTTPRoute", "className": null, "gatewayRef": {"name": "public", "namespace": "infra"}}), true),
        (json!({"type": "None", "gatewayRef": null}), false),
    ] {
        let change = json!({"spec": {"endpoint": {"managed": {"exposure": exposure}}}});
        world.change("LinktreeWebhook", "links", &change).unwrap();
        world.until("only that exposes it", || !there("Ingress") && there("HTTPRoute") == routed).await?;
    }
    world.until_condition("links", "Ready", "True").await
}

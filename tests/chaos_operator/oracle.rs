//! What a case is judged by: the state it ends in, beside the undisturbed one, and what must hold in every case.

use std::collections::{BTreeMap, BTreeSet};

use linktree_operator::{linktree::wire::SubscriptionStatus, simulator::state::subscriptions::Subscription};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NAMESPACE},
    gate::{Fate, Peer},
    scenario::Scenario,
    time,
};

/// Where a case came to rest, by object, without what may differ: times, ids, random secrets.
pub type State = BTreeMap<String, Value>;

/// How a case ended.
#[derive(Clone, Debug)]
pub struct End {
    pub state: State,
    /// How often each call that writes was made.
    pub writes: BTreeMap<Peer, BTreeMap<String, usize>>,
    pub violations: Vec<String>,
}

/// Runs a scenario to its state of rest, which is to be `expected` where that is known, and looks at how it ended.
pub async fn run(cluster: &Cluster, scenario: &Scenario, expected: Option<&End>) -> End {
    let course = (scenario.run)(cluster).await;
    let mut violations: Vec<String> = course.err().into_iter().collect();
    if violations.is_empty() {
        violations.extend(comes_to_rest(cluster, scenario, expected).await.err());
    }
    violations.extend(invariants(cluster));
    let mut writes = BTreeMap::from([Peer::Kubernetes, Peer::Linktree].map(|peer| (peer, BTreeMap::new())));
    for call in cluster.calls.made().into_iter().filter(|call| call.is_effect) {
        *writes.entry(call.peer).or_default().entry(call.what).or_default() += 1;
    }
    End { state: end_state(cluster, scenario), writes, violations }
}

/// Where a scenario has come to; a subscription that may be left behind, if somebody is told, is as good as gone.
fn end_state(cluster: &Cluster, scenario: &Scenario) -> State {
    let told = if scenario.may_leave_orphans() { orphans_told(cluster) } else { Vec::new() };
    state_without(cluster, |it| told.iter().any(|note| note.contains(&it.id.0) || note.contains(&it.url)))
}

fn orphans_told(cluster: &Cluster) -> Vec<String> {
    let events = cluster.kubernetes.list("Event", NAMESPACE);
    let orphans = events.iter().filter(|event| event["reason"] == "OrphanReleased");
    orphans.filter_map(|event| event["note"].as_str().map(str::to_owned)).collect()
}

/// It reaches the expected state, and then I5: nothing changes, nothing is written.
async fn comes_to_rest(cluster: &Cluster, scenario: &Scenario, expected: Option<&End>) -> Result<(), String> {
    match expected {
        Some(expected) => {
            cluster
                .until_some(
                    || (end_state(cluster, scenario) == expected.state).then_some(()),
                    || {
                        format!(
                            "never: it ends as undisturbed:\n{}",
                            differences(&end_state(cluster, scenario), &expected.state).join("\n")
                        )
                    },
                )
                .await?;
        }
        None => cluster.until_quiet().await?,
    }
    // From here on nothing goes wrong any more. Where the clock was set back, what was announced of the budget is taken
    // back with the next list only.
    cluster.calls.judge(Box::new(|_| Fate::Passes));
    time::pass(300).await;
    let before = (cluster.kubernetes.version(), cluster.calls.effects());
    time::pass(130).await;
    let after = (cluster.kubernetes.version(), cluster.calls.effects());
    let writes = after.1 - before.1;
    if before == after {
        Ok(())
    } else {
        Err(format!(
            "nothing changes, but {writes} writes: {}\n{}",
            cluster.last_calls(writes.max(1)),
            changes_since(cluster, before.0)
        ))
    }
}

/// I3, I6, I8, and that a secret that is kept is the right one.
pub fn invariants(cluster: &Cluster) -> Vec<String> {
    let mut violations = Vec::new();
    let most = cluster.linktree.most_of_one_url();
    if most > 1 {
        violations.push(format!("one webhook had {most} subscriptions"));
    }
    let in_a_minute = cluster.linktree.most_in_a_minute();
    if in_a_minute > 10 {
        violations.push(format!("{in_a_minute} requests to Linktree within a minute, the budget is 10"));
    }
    let told = told(cluster);
    let secrets = cluster.linktree.secrets();
    if let Some((place, secret)) =
        secrets.iter().find_map(|secret| Some((told.iter().find(|(_, text)| text.contains(secret))?, secret)))
    {
        violations.push(format!("{} tells the secret {secret}", place.0));
    }
    violations.extend(mismatched(cluster));
    violations
}

/// Everything the operator ever wrote that is no Secret.
fn told(cluster: &Cluster) -> Vec<(String, String)> {
    cluster.kubernetes.read_log(|log| {
        let plain = log.iter().filter(|change| change.key.kind.kind != "Secret");
        plain
            .map(|change| {
                (
                    format!("{} {}", change.key.kind.kind, change.key.name),
                    change.after.as_ref().map(Value::to_string).unwrap_or_default(),
                )
            })
            .collect()
    })
}

/// A subscription whose secret the receiver does not have, although nobody else changed it.
fn mismatched(cluster: &Cluster) -> Vec<String> {
    let ready = |webhook: &&Value| {
        cluster.condition(webhook["metadata"]["name"].as_str().unwrap(), "Ready").starts_with("True")
    };
    let webhooks = cluster.kubernetes.list("LinktreeWebhook", NAMESPACE);
    let subscriptions = cluster.linktree.subscriptions();
    let mut wrong = Vec::new();
    for webhook in webhooks.iter().filter(ready) {
        let name = webhook["metadata"]["name"].as_str().unwrap();
        let url = webhook["status"]["address"]["url"].as_str().unwrap_or_default();
        let Some(subscription) = subscriptions.iter().find(|it| it.url == url) else {
            wrong.push(format!("{name} is Ready without a subscription"));
            continue;
        };
        let by_provider = webhook["spec"]["signing"]["keys"].as_array().is_none_or(Vec::is_empty);
        let kept = cluster.secret(&format!("{name}-signing"), "secret");
        if by_provider && kept.as_deref() != Some(subscription.secret.expose()) {
            wrong.push(format!("{name} is Ready, but its secret is not the subscription's"));
        }
    }
    wrong
}

/// What is there, without what may differ from run to run.
pub fn state(cluster: &Cluster) -> State {
    state_without(cluster, |_| false)
}

fn state_without(cluster: &Cluster, left_out: impl Fn(&Subscription) -> bool) -> State {
    let mut state = BTreeMap::new();
    for (key, object) in cluster.kubernetes.everything() {
        let content = match key.kind.kind {
            "Event" | "Lease" => continue,
            // Random tokens and secrets: which keys there are is what can be compared.
            "Secret" => {
                json!(object["data"].as_object().into_iter().flatten().map(|(name, _)| name).collect::<BTreeSet<_>>())
            }
            "LinktreeWebhook" | "LinktreeConnection" => {
                json!({"spec": object["spec"], "status": comparable_status(&object["status"]), "finalizers": object["metadata"]["finalizers"]})
            }
            "Pod" => json!(object["spec"]["containers"]),
            _ => object["spec"].clone(),
        };
        state.insert(format!("{} {}", key.kind.kind, key.name), content);
    }
    let mut subscriptions: Vec<Value> = cluster
        .linktree
        .subscriptions()
        .iter()
        .filter(|it| !left_out(it))
        .map(|it| {
            let mut events: Vec<&str> = it.events.iter().map(|event| event.as_str()).collect();
            events.sort_unstable();
            let status = if it.disabled.is_some() { SubscriptionStatus::Disabled } else { SubscriptionStatus::Active };
            json!({"url": it.url, "events": events, "status": status})
        })
        .collect();
    subscriptions.sort_by_key(Value::to_string);
    state.insert("Linktree".to_owned(), subscriptions.into());
    state.into_iter().map(|(name, content)| (name, without_uids(content))).collect()
}

/// Objects are told apart by numbers here, which depend on what was made before.
fn without_uids(mut content: Value) -> Value {
    match &mut content {
        Value::String(text) if text.starts_with("uid-") => *text = "uid".to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_uids(item.take())),
        Value::Object(fields) => fields.values_mut().for_each(|field| *field = without_uids(field.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    content
}

/// Conditions by status and reason, the subscription's state, the sinks: what a person acts on.
fn comparable_status(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let conditions: BTreeMap<String, String> = conditions
        .iter()
        .map(|it| {
            // Found after a crash instead of made: the same for everybody.
            let reason = it["reason"].as_str().unwrap_or_default().replace("Adopted", "Created");
            (
                it["type"].as_str().unwrap_or_default().to_owned(),
                format!("{} {reason}", it["status"].as_str().unwrap_or_default()),
            )
        })
        .collect();
    let sinks = status["sinks"].as_array().cloned().unwrap_or_default();
    let keys: Vec<&String> = status["signing"]["keyDigests"].as_object().into_iter().flat_map(|it| it.keys()).collect();
    json!({
        "conditions": conditions,
        "state": status["subscription"]["state"],
        "plan": status["subscription"]["plan"],
        "drift": status["subscription"]["drift"],
        "hasId": status["subscription"]["id"].is_string(),
        "url": status["address"]["url"],
        "keys": keys,
        "activeKey": status["signing"]["activeKey"],
        // In whatever order: to the API server they are a map.
        "sinks": sinks.iter().map(|sink| (sink["name"].to_string(), &sink["state"])).collect::<BTreeMap<_, _>>(),
        "subscriptions": status["subscriptions"],
    })
}

/// How the end differs from the undisturbed one; writes may exceed it by `more`.
pub fn compare(end: &End, undisturbed: &End, more: usize) -> Vec<String> {
    let mut violations = end.violations.clone();
    violations.extend(differences(&end.state, &undisturbed.state));
    for (peer, writes) in &end.writes {
        let usual = &undisturbed.writes[peer];
        let sum = |writes: &BTreeMap<String, usize>| writes.values().sum::<usize>();
        if sum(writes) > sum(usual) + more {
            violations.push(format!("more than {more} writes too many to {peer:?}: {writes:?} instead of {usual:?}"));
        }
    }
    violations
}

/// What was written since a version.
fn changes_since(cluster: &Cluster, version: u64) -> String {
    cluster.kubernetes.read_log(|log| {
        let mut found = Vec::new();
        for change in log.iter().filter(|change| change.version > version) {
            let path = format!("{} {} at {}", change.key.kind.kind, change.key.name, change.at);
            let of = |object: &Option<Value>| object.clone().unwrap_or_default();
            difference(&path, &of(&change.after), &of(&change.before), &mut found);
        }
        found.join("\n")
    })
}

/// Where two states differ.
pub fn differences(is: &State, should: &State) -> Vec<String> {
    let names: BTreeSet<&String> = is.keys().chain(should.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let of = |state: &State| state.get(name).cloned().unwrap_or(Value::Null);
        difference(name, &of(is), &of(should), &mut found);
    }
    found
}

fn difference(path: &str, is: &Value, should: &Value, found: &mut Vec<String>) {
    match (is, should) {
        _ if is == should => {}
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                difference(&format!("{path}.{name}"), &is[name], &should[name], found);
            }
        }
        _ => found.push(format!("{path} is {is} instead of {should}")),
    }
}

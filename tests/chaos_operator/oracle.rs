//! The oracle of a case: its final state compared with the undisturbed one, and invariants of every case.

use std::collections::{BTreeMap, BTreeSet};

use linktree_operator::{linktree::wire::SubscriptionStatus, simulator::state::subscriptions::Subscription};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NAMESPACE},
    gate::{Fate, Peer},
    scenario::Scenario,
    time,
};

/// The final state by object, without times, ids and random secrets, which may differ.
pub type State = BTreeMap<String, Value>;

/// The result of a case.
#[derive(Clone, Debug)]
pub struct End {
    pub state: State,
    /// The count of each write.
    pub writes: BTreeMap<Peer, BTreeMap<String, usize>>,
    pub violations: Vec<String>,
}

/// Runs a scenario to its final state, which must be `expected` if known, and evaluates it.
pub async fn run(cluster: &Cluster, scenario: &Scenario, expected: Option<&End>) -> End {
    let result = (scenario.run)(cluster).await;
    let mut violations: Vec<String> = result.err().into_iter().collect();
    if violations.is_empty() {
        violations.extend(until_settled(cluster, scenario, expected).await.err());
    }
    violations.extend(invariants(cluster));
    let mut writes = BTreeMap::from([Peer::Kubernetes, Peer::Linktree].map(|peer| (peer, BTreeMap::new())));
    for call in cluster.calls.made().into_iter().filter(|call| call.is_effect) {
        *writes.entry(call.peer).or_default().entry(call.what).or_default() += 1;
    }
    End { state: end_state(cluster, scenario), writes, violations }
}

/// The final state of a scenario, without orphaned subscriptions that it may leave and that an Event reports.
fn end_state(cluster: &Cluster, scenario: &Scenario) -> State {
    let reported = if scenario.may_leave_orphans() { reported_orphans(cluster) } else { Vec::new() };
    state_without(cluster, |it| reported.iter().any(|note| note.contains(&it.id.0) || note.contains(&it.url)))
}

fn reported_orphans(cluster: &Cluster) -> Vec<String> {
    let events = cluster.kubernetes.list("Event", NAMESPACE);
    let orphans = events.iter().filter(|event| event["reason"] == "OrphanReleased");
    orphans.filter_map(|event| event["note"].as_str().map(str::to_owned)).collect()
}

/// Waits for the expected state, then checks I5: without changes there are no writes.
async fn until_settled(cluster: &Cluster, scenario: &Scenario, expected: Option<&End>) -> Result<(), String> {
    match expected {
        Some(expected) => {
            cluster
                .until_some(
                    || (end_state(cluster, scenario) == expected.state).then_some(()),
                    || {
                        format!(
                            "never: the final state equals the undisturbed one:\n{}",
                            differences(&end_state(cluster, scenario), &expected.state).join("\n")
                        )
                    },
                )
                .await?;
        }
        None => cluster.until_quiet().await?,
    }
    // No more faults from now on. If the clock was set back, only the next list releases the reservation of the budget.
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
            "{writes} writes without a change: {}\n{}",
            cluster.last_calls(writes.max(1)),
            changes_since(cluster, before.0)
        ))
    }
}

/// Checks I3, I6, I8, and that each stored secret is the subscription's.
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
    let written = written(cluster);
    let secrets = cluster.linktree.secrets();
    if let Some((place, secret)) =
        secrets.iter().find_map(|secret| Some((written.iter().find(|(_, text)| text.contains(secret))?, secret)))
    {
        violations.push(format!("{} contains the secret {secret}", place.0));
    }
    violations.extend(mismatched(cluster));
    violations
}

/// All versions of all objects except Secrets.
fn written(cluster: &Cluster) -> Vec<(String, String)> {
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

/// Ready webhooks whose stored secret is not the subscription's.
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

/// The current state, without values that differ between runs.
pub fn state(cluster: &Cluster) -> State {
    state_without(cluster, |_| false)
}

fn state_without(cluster: &Cluster, left_out: impl Fn(&Subscription) -> bool) -> State {
    let mut state = BTreeMap::new();
    for (key, object) in cluster.kubernetes.everything() {
        let content = match key.kind.kind {
            "Event" | "Lease" => continue,
            // Tokens and secrets are random: only the keys can be compared.
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

/// Replaces uids, which are numbers in order of creation.
fn without_uids(mut content: Value) -> Value {
    match &mut content {
        Value::String(text) if text.starts_with("uid-") => *text = "uid".to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_uids(item.take())),
        Value::Object(fields) => fields.values_mut().for_each(|field| *field = without_uids(field.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    content
}

/// The comparable part of a status: conditions by status and reason, the subscription's state, the sinks.
fn comparable_status(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let conditions: BTreeMap<String, String> = conditions
        .iter()
        .map(|it| {
            // Adopted after a crash instead of created: equivalent.
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
        // In any order: for the API server they are a map.
        "sinks": sinks.iter().map(|sink| (sink["name"].to_string(), &sink["state"])).collect::<BTreeMap<_, _>>(),
        "subscriptions": status["subscriptions"],
    })
}

/// The differences from the undisturbed result; `more` additional writes are allowed.
pub fn compare(end: &End, undisturbed: &End, more: usize) -> Vec<String> {
    let mut violations = end.violations.clone();
    violations.extend(differences(&end.state, &undisturbed.state));
    for (peer, writes) in &end.writes {
        let usual = &undisturbed.writes[peer];
        let sum = |writes: &BTreeMap<String, usize>| writes.values().sum::<usize>();
        if sum(writes) > sum(usual) + more {
            violations.push(format!("more than {more} additional writes to {peer:?}: {writes:?} instead of {usual:?}"));
        }
    }
    violations
}

/// The changes since a version.
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

/// The differences between two states.
pub fn differences(actual: &State, expected: &State) -> Vec<String> {
    let names: BTreeSet<&String> = actual.keys().chain(expected.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let of = |state: &State| state.get(name).cloned().unwrap_or(Value::Null);
        difference(name, &of(actual), &of(expected), &mut found);
    }
    found
}

fn difference(path: &str, actual: &Value, expected: &Value, found: &mut Vec<String>) {
    match (actual, expected) {
        _ if actual == expected => {}
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                difference(&format!("{path}.{name}"), &actual[name], &expected[name], found);
            }
        }
        _ => found.push(format!("{path} is {actual} instead of {expected}")),
    }
}

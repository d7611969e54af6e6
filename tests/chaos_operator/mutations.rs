//! Mutations of a custom resource and back: the final state equals that of a new installation with the same spec, and
//! the operator never hangs.

use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, connection_spec, webhook_spec},
    mutate::{self, Mutation},
    oracle,
    row::{Row, count},
    time, workers,
};

#[derive(Clone, Debug)]
struct Case {
    kind: &'static str,
    rich: bool,
    mutations: Vec<Mutation>,
}

impl Case {
    fn name(&self) -> &'static str {
        if self.kind == "LinktreeWebhook" { "links" } else { "brand" }
    }

    fn good(&self) -> Value {
        match (self.kind, self.rich) {
            ("LinktreeWebhook", false) => json!({"spec": webhook_spec()}),
            ("LinktreeWebhook", true) => json!({"spec": rich_spec()}),
            _ => json!({"spec": connection_spec()}),
        }
    }

    fn changed(&self) -> Value {
        let mut object = self.good();
        self.mutations.iter().for_each(|mutation| mutation.apply(&mut object));
        object
    }
}

/// A webhook spec with most fields.
pub fn rich_spec() -> Value {
    let mut spec = webhook_spec();
    let secret_ref = |key: &str| json!({"name": "keys", "key": key});
    spec["signing"] = json!({
        "keys": [{"name": "k1", "secretRef": secret_ref("k1")}, {"name": "k2", "secretRef": secret_ref("k2")}],
        "timestampToleranceSeconds": 300, "staleDeliveryPolicy": "Reject",
    });
    spec["receiver"] = json!({
        "deduplication": {"windowSeconds": 604_800}, "maxBodyBytes": 262_144, "redactFields": ["ip_address"],
        "journal": {"retentionSeconds": 604_800, "capacity": "1Gi"},
    });
    spec["subscription"] = json!({
        "managementPolicy": "Manage", "adoptionPolicy": "IfURLMatches", "driftPolicy": "Correct", "deletionPolicy": "Delete",
        "deletionDeadlineSeconds": 3600, "recovery": {"policy": "WhenHealthy", "cooldownSeconds": 900, "maxAttemptsPerDay": 6},
    });
    spec["pause"] = "None".into();
    spec["sinks"] = json!([
        {"name": "cms", "http": {"url": "https://cms.example.com/in", "authSecretRef": secret_ref("k1")}, "events": ["link.created"],
         "filter": "event.type == 'link.created'", "format": "CloudEventStructured", "signingSecretRef": secret_ref("k2"),
         "delivery": {"timeoutSeconds": 10, "ordering": "ByResource", "retry": {"limit": 8, "delaySeconds": 2, "maxDelaySeconds": 300}}},
        {"name": "chat", "http": {"urlSecretRef": secret_ref("url")}, "format": "Template",
         "template": {"body": "{\"text\": {{ event.type | tojson }}}", "contentType": "application/json", "headers": {"x-from": "links"}}},
        {"name": "audit", "service": {"name": "audit", "port": 80, "path": "/in"}},
    ]);
    spec
}

fn prepare(cluster: &Cluster) {
    cluster.put_secret("keys", "k1", "whsec_1");
    cluster.put_secret("keys", "k2", "whsec_2");
    cluster.put_secret("keys", "url", "https://chat.example.com/hook");
    cluster.connect();
}

/// The final state of a new installation.
fn fresh_install(case: &Case, object: &Value) -> Result<oracle::State, String> {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        prepare(&cluster);
        if case.kind == "LinktreeWebhook" {
            cluster.apply(case.kind, "links", object.clone()).map_err(|error| error.message)?;
        } else {
            cluster.apply("LinktreeWebhook", "links", json!({"spec": webhook_spec()})).unwrap();
            cluster.replace_spec(case.kind, "brand", &object["spec"]).map_err(|error| error.message)?;
        }
        cluster.until_quiet().await?;
        Ok(oracle::state(&cluster))
    })
}

/// Whether the result depends on the previous state, because a policy retains it.
fn depends_on_history(object: &Value) -> bool {
    let policies = &object["spec"]["subscription"];
    let is = |field: &str, usual: &str| policies[field].is_null() || policies[field] == usual;
    !(is("managementPolicy", "Manage") && is("adoptionPolicy", "IfURLMatches") && is("driftPolicy", "Correct"))
        || object["spec"]["pause"] == "Reconciliation"
}

/// The violations of a case; `None` if the schema rejected it.
fn run(case: &Case, good: &oracle::State) -> Option<Vec<String>> {
    let changed = case.changed();
    // Before the other cluster, which uses this thread's clock.
    let expected = if depends_on_history(&changed) { None } else { Some(fresh_install(case, &changed)) };
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        prepare(&cluster);
        let first = if case.kind == "LinktreeWebhook" { case.good() } else { json!({"spec": webhook_spec()}) };
        cluster.apply("LinktreeWebhook", "links", first).unwrap();
        if let Err(problem) = cluster.until_condition("links", "Ready", "True").await {
            return Some(vec![problem]);
        }
        let mut violations = Vec::new();
        cluster.replace_spec(case.kind, case.name(), &changed["spec"]).ok()?;
        violations.extend(until_observed(&cluster, case).await.err());
        violations.extend(cluster.until_quiet().await.err());
        match expected {
            // With an unusable spec or connection, or one that Linktree rejects, the previous state stays.
            Some(Ok(expected)) if violations.is_empty() && is_usable(&cluster) => {
                violations.extend(differences("changed", &oracle::state(&cluster), &expected));
            }
            Some(Err(problem)) => violations.push(format!("new installation: {problem}")),
            Some(Ok(_)) | None => {}
        }
        violations.extend(
            cluster.replace_spec(case.kind, case.name(), &case.good()["spec"]).err().map(|error| error.message),
        );
        violations.extend(
            cluster
                .until_some(
                    || differences("back", &oracle::state(&cluster), good).is_empty().then_some(()),
                    || differences("back", &oracle::state(&cluster), good).join("\n"),
                )
                .await
                .err(),
        );
        violations.extend(oracle::invariants(&cluster));
        Some(violations)
    })
}

fn is_usable(cluster: &Cluster) -> bool {
    cluster.condition("links", "ConnectionReady").starts_with("True")
        && !cluster.condition("links", "Ready").ends_with("InvalidSpec")
        && !cluster.condition("links", "UpToDate").ends_with("Rejected")
}

/// Waits until the change is observed.
async fn until_observed(cluster: &Cluster, case: &Case) -> Result<(), String> {
    cluster
        .until("the change is observed", || {
            let object = cluster.get(case.kind, case.name()).unwrap();
            object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await
}

/// The differences between two states, without the signing Secret, which is retained.
fn differences(what: &str, is: &oracle::State, should: &oracle::State) -> Vec<String> {
    let all = oracle::differences(is, should);
    all.into_iter().filter(|it| !it.starts_with("Secret links-signing")).map(|it| format!("{what}: {it}")).collect()
}

#[test]
fn mutations() {
    let mut row = Row::new("CR mutations", "mutations::mutations");
    let mut random = row.rng();
    let goal = count(2000, 8);
    let bases = [("LinktreeWebhook", true), ("LinktreeWebhook", false), ("LinktreeConnection", false)];
    let goods: Vec<oracle::State> = bases
        .map(|(kind, rich)| {
            let case = Case { kind, rich, mutations: Vec::new() };
            fresh_install(&case, &case.good()).unwrap()
        })
        .into();
    let all = bases.map(|(kind, rich)| mutate::all(kind, &Case { kind, rich, mutations: Vec::new() }.good()));
    let mut accepted = 0;
    while accepted < goal {
        let cases: Vec<(usize, Case)> = (0..goal.min(400))
            .map(|n| {
                let base = [0, 0, 0, 1, 2][n % 5];
                let (kind, rich) = bases[base];
                (base, Case { kind, rich, mutations: mutate::some(&all[base], &mut random) })
            })
            .collect();
        let results = workers::map(&cases, |(base, case)| run(case, &goods[*base]));
        for ((_, case), result) in cases.iter().zip(results) {
            let Some(violations) = result else { continue };
            accepted += 1;
            violations.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
        }
    }
    row.tried(accepted);
    row.finish();
}

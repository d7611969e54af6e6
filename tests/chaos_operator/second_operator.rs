//! Two operators with different names and images that watch one namespace: one of them manages each webhook, the other one
//! is named and writes nothing.

use serde_json::json;

use crate::{
    cluster::Cluster,
    row::{Row, count},
    sample::sample,
    time, workers,
};

const SECOND: &[&str] = &["--receiver-image=receiver:2", "--operator-name=second"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Together,
    /// After the first operator has settled the webhook.
    Later,
    /// The webhook is created before its connection, while both run.
    WithoutConnection,
    /// The webhook is handed over by annotation.
    HandedOver,
    /// The first operator restarts while both run.
    FirstRestarts,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    start: Start,
    delay_ms: u64,
}

fn image(cluster: &Cluster) -> String {
    let set = cluster.get("StatefulSet", "links-receiver").unwrap_or_default();
    set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}

fn generations(cluster: &Cluster) -> usize {
    let key = cluster.key("StatefulSet", "links-receiver");
    cluster.kubernetes.read_log(|log| log.iter().filter(|change| change.key == key).count())
}

fn is_named(cluster: &Cluster) -> bool {
    cluster.condition("links", "OperatorConflict") == "True ManagedByAnotherOperator"
}

async fn managed_by_one(cluster: &mut Cluster, case: Case) -> Result<(), String> {
    let handed = json!({"metadata": {"annotations": {"webhooks.linktree-operator.dev/operator": "marketing/second"}}});
    match case.start {
        Start::Together | Start::FirstRestarts => {
            cluster.add_operator_with(SECOND);
            time::pass(1).await;
            cluster.calls.set_latency(std::time::Duration::from_millis(case.delay_ms));
            cluster.connect();
            cluster.webhook("links", |_| {});
        }
        Start::WithoutConnection => {
            cluster.add_operator_with(SECOND);
            cluster.calls.set_latency(std::time::Duration::from_millis(case.delay_ms));
            cluster.webhook("links", |_| {});
            time::pass(20).await;
            cluster.connect();
        }
        Start::Later | Start::HandedOver => {
            cluster.settled("links").await?;
            cluster.add_operator_with(SECOND);
        }
    }
    cluster.until_condition("links", "Ready", "True").await?;
    if case.start == Start::HandedOver {
        cluster.change("LinktreeConnection", "brand", &handed).unwrap();
        cluster.change("LinktreeWebhook", "links", &handed).unwrap();
        cluster.until("the second operator's image runs", || image(cluster) == "receiver:2").await?;
    }
    cluster.until("the second operator is named", || is_named(cluster)).await?;
    if case.start == Start::FirstRestarts {
        cluster.end_operators();
        cluster.add_operator_with(SECOND);
        cluster.add_operator();
    }
    time::pass(600).await;
    let before = (generations(cluster), image(cluster));
    time::pass(4 * 3600).await;
    let after = (generations(cluster), image(cluster));
    if before != after {
        return Err(format!("the StatefulSet was written: {before:?}, {after:?}"));
    }
    if after.0 > 8 {
        return Err(format!("{} writes to the StatefulSet", after.0));
    }
    match cluster.linktree.subscriptions().len() {
        1 => {}
        many => return Err(format!("{many} subscriptions")),
    }
    cluster.until_condition("links", "Ready", "True").await?;
    cluster.until("the second operator is still named", || is_named(cluster)).await
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let mut cluster = Cluster::start(1, 1);
        let result = managed_by_one(&mut cluster, *case).await;
        result.err().into_iter().map(|problem| format!("{problem}\n{}", cluster.describe())).collect()
    })
}

#[test]
fn two_operators() {
    let mut row = Row::new("two operators, one namespace", "two_operators");
    let starts = [Start::Together, Start::Later, Start::WithoutConnection, Start::HandedOver, Start::FirstRestarts];
    let cases = starts.into_iter().flat_map(|start| [0, 3, 40, 700].map(|delay_ms| Case { start, delay_ms }));
    let cases = sample(&row, cases.collect(), count(20, 5));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        violations.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}

//! The simulated cluster of one case: an API server, a node, a Linktree, and any number of operators, each restarted
//! after its death, as by a Deployment.

use std::{future::Future, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Parser;
use kube::Client;
use linktree_operator::{
    linktree::client::Transport,
    operator::{Operator, Settings, election::leadership::Leadership, ports::Ports},
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    gate::{Calls, Gate, KubernetesGate, LinktreeGate},
    kubernetes::{Key, Kubernetes, Part, StatusError},
    linktree::{Linktree, TOKEN},
    node::Node,
    time,
};

pub const NAMESPACE: &str = "marketing";
pub const HOST: &str = "hooks.example.com";
/// The delay until the Deployment starts another process.
const RESTARTS_AFTER: Duration = Duration::from_secs(3);
/// The deadline for recovery after the end of a fault. Usually minutes suffice, but a call that Linktree does not
/// support is retried after a day.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(26 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// A simulated cluster.
pub struct Cluster {
    pub kubernetes: Kubernetes,
    pub linktree: Linktree,
    pub node: Node,
    pub calls: Calls,
    operators: Vec<(JoinHandle<()>, CancellationToken)>,
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

impl Cluster {
    /// Starts an empty cluster with this number of operators.
    pub fn start(seed: u64, operators: usize) -> Self {
        Cluster::start_with(Linktree::new(seed, true), operators)
    }

    /// Starts an empty cluster with this number of operators and this Linktree.
    pub fn start_with(linktree: Linktree, operators: usize) -> Self {
        let kubernetes = Kubernetes::start();
        let node = Node::start(&kubernetes);
        let mut cluster = Cluster { kubernetes, linktree, node, calls: Calls::new(), operators: Vec::new() };
        (0..operators).for_each(|_| cluster.add_operator());
        cluster
    }

    pub fn add_operator(&mut self) {
        self.add_operator_with(&["--receiver-image=receiver:1"]);
    }

    /// Adds an operator with these arguments.
    pub fn add_operator_with(&mut self, arguments: &'static [&'static str]) {
        let (kubernetes, linktree, node, calls) =
            (self.kubernetes.clone(), self.linktree.clone(), self.node.clone(), self.calls.clone());
        let over = CancellationToken::new();
        let ends = over.clone();
        let runs = tokio::spawn(async move {
            while !ends.is_cancelled() {
                let gate = Gate::new(calls.clone());
                let operator = operator(&gate, &kubernetes, &linktree, &node, arguments);
                let run = async {
                    // A process that cannot start exits, and is restarted.
                    if operator.check().await.is_ok() {
                        operator.run(CancellationToken::new()).await;
                    }
                };
                tokio::select! {
                    biased;
                    () = run => {}
                    () = gate.died() => {}
                    () = ends.cancelled() => {}
                }
                gate.die();
                tokio::time::sleep(RESTARTS_AFTER).await;
            }
        });
        self.operators.push((runs, over));
    }

    /// Kills all operators for good.
    pub fn end_operators(&mut self) {
        self.operators.drain(..).for_each(|(_, over)| over.cancel());
    }

    /// Kills all operators and starts one.
    pub async fn restart_operators(&mut self) {
        self.end_operators();
        time::pass(1).await;
        self.add_operator();
    }

    /// Kills one operator for good after this number of seconds.
    pub fn end_one_after(&self, seconds: u64) {
        let over = self.operators.last().map(|(_, over)| over.clone());
        tokio::spawn(async move {
            time::pass(seconds).await;
            over.as_ref().map(CancellationToken::cancel);
        });
    }

    pub fn key(&self, kind: &str, name: &str) -> Key {
        self.kubernetes.key(kind, NAMESPACE, name)
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.kubernetes.get(&self.key(kind, name))
    }

    /// Applies an object as a user does.
    pub fn apply(&self, kind: &str, name: &str, object: Value) -> Result<Value, StatusError> {
        self.kubernetes.apply(&self.key(kind, name), "user", object)
    }

    pub fn change(&self, kind: &str, name: &str, patch: &Value) -> Result<Value, StatusError> {
        self.kubernetes.merge(&self.key(kind, name), Part::Main, patch)
    }

    /// Replaces the spec of an object.
    pub fn replace_spec(&self, kind: &str, name: &str, spec: &Value) -> Result<Value, StatusError> {
        self.kubernetes.edit(&self.key(kind, name), |object| object["spec"] = spec.clone())
    }

    pub fn delete(&self, kind: &str, name: &str) {
        self.kubernetes.delete(&self.key(kind, name)).unwrap();
    }

    pub fn put_secret(&self, name: &str, key: &str, value: &str) {
        match self.get("Secret", name) {
            Some(_) => self.change("Secret", name, &json!({"stringData": {key: value}})).unwrap(),
            None => self.apply("Secret", name, json!({"stringData": {key: value}})).unwrap(),
        };
    }

    /// The value of a Secret's key.
    pub fn secret(&self, name: &str, key: &str) -> Option<String> {
        let secret = self.get("Secret", name)?;
        String::from_utf8(STANDARD.decode(secret["data"][key].as_str()?).ok()?).ok()
    }

    /// Creates the connection `brand` and its token.
    pub fn connect(&self) {
        self.put_secret("linktree-api", "token", TOKEN);
        self.apply("LinktreeConnection", "brand", json!({"spec": connection_spec()})).unwrap();
    }

    pub fn webhook(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut spec = webhook_spec();
        edit(&mut spec);
        self.apply("LinktreeWebhook", name, json!({"spec": spec})).unwrap();
    }

    pub fn status(&self, name: &str) -> Value {
        self.get("LinktreeWebhook", name).map(|webhook| webhook["status"].clone()).unwrap_or_default()
    }

    /// A condition of the webhook, such as `True Available`.
    pub fn condition(&self, name: &str, of: &str) -> String {
        condition(&self.status(name), of)
    }

    pub async fn until_condition(&self, name: &str, of: &str, is: &str) -> Result<(), String> {
        self.until(&format!("{name} has {of}={is}"), || self.condition(name, of).starts_with(is)).await
    }

    /// Creates a connection and a webhook, and waits until the webhook is ready.
    pub async fn settled(&self, name: &str) -> Result<(), String> {
        self.connect();
        self.webhook(name, |_| {});
        self.until_condition(name, "Ready", "True").await
    }

    /// Waits in simulated time; the error names the condition that never held.
    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
        let found = || holds().then_some(());
        poll(Duration::from_secs(1), found).await.ok_or_else(|| format!("never: {what}\n{}", self.describe()))
    }

    /// Waits until `find` returns a value; `why` describes the failure.
    pub async fn until_some<T>(&self, find: impl FnMut() -> Option<T>, why: impl Fn() -> String) -> Result<T, String> {
        let found = poll(Duration::from_secs(10), find).await;
        found.ok_or_else(|| format!("{}\n{}\n{}", why(), self.describe(), self.last_calls(30)))
    }

    /// Waits until there are no writes for 130 s, in which all reservations of the budget have expired.
    pub async fn until_quiet(&self) -> Result<(), String> {
        const QUIET: u64 = 130;
        let mut seen = (self.kubernetes.version(), self.calls.effects());
        for _ in 0..60 {
            time::pass(QUIET).await;
            let now = (self.kubernetes.version(), self.calls.effects());
            if now == seen {
                return self.budgets_are_whole();
            }
            seen = now;
        }
        Err(format!("never: there are no more writes\n{}\n{}", self.describe(), self.last_calls(30)))
    }

    fn budgets_are_whole(&self) -> Result<(), String> {
        let connections = self.kubernetes.list("LinktreeConnection", NAMESPACE);
        let mut budgets = connections.iter().map(|connection| &connection["status"]["requestBudget"]);
        match budgets.find(|budget| !budget["resetTime"].is_null()) {
            Some(lapsed) => Err(format!("never: the reservation of the budget is released: {lapsed}")),
            None => Ok(()),
        }
    }

    pub fn last_calls(&self, count: usize) -> String {
        let made = self.calls.made();
        let effects: Vec<&str> = made.iter().filter(|call| call.is_effect).map(|call| call.what.as_str()).collect();
        format!("the last effects: {}", effects[effects.len().saturating_sub(count)..].join(", "))
    }

    /// A description of the custom resources and the account, for a failure.
    pub fn describe(&self) -> String {
        let resources =
            ["LinktreeConnection", "LinktreeWebhook"].map(|kind| self.kubernetes.list(kind, NAMESPACE)).concat();
        let conditions = |object: &Value| {
            let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let lines = all.iter().map(|it| {
                format!(
                    "    {}={} {}: {}",
                    text(it, "type"),
                    text(it, "status"),
                    text(it, "reason"),
                    text(it, "message")
                )
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let objects = resources.iter().map(|it| {
            format!(
                "  {} {} {}\n{}",
                text(it, "kind"),
                it["metadata"]["name"],
                it["status"]["subscription"],
                conditions(it)
            )
        });
        let objects = objects.collect::<Vec<_>>().join("\n");
        let subscriptions =
            self.linktree.subscriptions().into_iter().map(|it| format!("  {} {} {:?}", it.id, it.url, it.disabled));
        format!("{objects}\n  Linktree:\n{}", subscriptions.collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.operators.iter().for_each(|(runs, _)| runs.abort());
    }
}

/// Calls `find` every `step`, and less often after an hour.
async fn poll<T>(step: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        let waited = began.elapsed();
        let found = find();
        if found.is_some() || waited > RECOVERY_DEADLINE {
            return found;
        }
        tokio::time::sleep(if waited < HOUR { step } else { step * 30 }).await;
    }
}

fn operator(gate: &Gate, kubernetes: &Kubernetes, linktree: &Linktree, node: &Node, arguments: &[&str]) -> Operator {
    let service = KubernetesGate { gate: gate.clone(), kubernetes: kubernetes.clone() };
    let exchange = LinktreeGate { gate: gate.clone(), linktree: linktree.clone() };
    let node = Arc::new(node.clone());
    let ports = Ports {
        client: Client::new(service, NAMESPACE),
        transport: Transport::over(Arc::new(exchange)),
        prober: node.clone(),
        receivers: node,
    };
    let watched = format!("--watch-namespace={NAMESPACE}");
    let settings = Command::parse_from([&["operator", &watched], arguments].concat()).settings;
    Operator::new(settings, ports, &Leadership::unopposed(), &mut Registry::default())
}

pub fn connection_spec() -> Value {
    json!({"baseURL": "https://api.linktr.ee", "tokenSecretRef": {"name": "linktree-api"}, "syncPeriodSeconds": 90})
}

pub fn webhook_spec() -> Value {
    json!({
        "connectionRef": {"name": "brand"},
        "events": ["link.created", "link.updated"],
        "endpoint": {"managed": {"host": HOST, "exposure": {"type": "None"}}},
        "sinks": [{"name": "cms", "http": {"url": "http://cms.marketing.svc.cluster.local/in"}}],
    })
}

pub fn condition(status: &Value, of: &str) -> String {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|it| it["type"] == of);
    found.map(|it| format!("{} {}", text(it, "status"), text(it, "reason"))).unwrap_or_default()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// The result of a scenario; the error is the condition that never held.
pub type ScenarioResult = Result<(), String>;
pub type ScenarioFuture<'a> = std::pin::Pin<Box<dyn Future<Output = ScenarioResult> + 'a>>;

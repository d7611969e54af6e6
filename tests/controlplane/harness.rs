//! The harness of one test: a namespace, a simulated Linktree, an operator, and the receivers' nodes. Deleted after the
//! test, and dumped if it failed.

use std::{
    fmt::Write as _,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::FutureExt;
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, NamespaceResourceScope},
};
use linktree_operator::api::{
    connection::LinktreeConnection, crds, webhook::LinktreeWebhook, webhook_status::LinktreeWebhookStatus,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    history::History,
    kstatus,
    kubelet::Kubelet,
    network::{Destination, Network},
    operator::Operator,
    simulator::Simulator,
    wait::{until, until_some},
};

/// The account's token, which no log, status or Event may contain.
pub const TOKEN: &str = "lt_test_never-to-be-seen";
/// Lines of the operator's log that a failed test prints.
const LOG_LINES: usize = 80;

/// The environment of one test.
pub struct Harness {
    pub client: Client,
    pub namespace: String,
    pub linktree: Simulator,
    pub network: Network,
    pub operator: Operator,
    directory: TempDir,
    pub history: History,
    nodes: u8,
}

/// Runs a test with an operator in an empty namespace, and a Linktree without rate limit.
pub async fn scenario(test: impl AsyncFnOnce(&mut Harness)) {
    scenario_with(&["--no-rate-limit"], test).await;
}

/// As [`scenario`], with these arguments for the simulator.
pub async fn scenario_with(simulator: &[&str], test: impl AsyncFnOnce(&mut Harness)) {
    let mut harness = Harness::start(simulator).await;
    let run = async {
        harness.operator.ready().await;
        test(&mut harness).await;
        harness.assert_invariants().await;
    };
    let result = AssertUnwindSafe(run).catch_unwind().await;
    let dump = if result.is_err() { harness.dump().await } else { String::new() };
    harness.end().await;
    if let Err(cause) = result {
        let cause = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        panic!("{}\n{dump}", cause.unwrap_or("the test failed"));
    }
}

/// A client of the cluster of `make test-controlplane`.
pub async fn client() -> Client {
    assert!(std::env::var_os("KUBECONFIG").is_some(), "KUBECONFIG is not set: run `make test-controlplane`");
    Client::try_default().await.unwrap()
}

/// Applies the custom resource definitions; concurrent calls are safe.
pub async fn install_crds(client: &Client) {
    let api: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        Api::all(client.clone());
    for crd in crds() {
        let name = crd.metadata.name.clone().unwrap();
        api.patch(&name, &PatchParams::apply("controlplane-tests").force(), &Patch::Apply(&crd)).await.unwrap();
        until("the custom resource is served", async || {
            let conditions = api.get(&name).await.unwrap().status.and_then(|status| status.conditions);
            conditions.into_iter().flatten().any(|it| it.type_ == "Established" && it.status == "True")
        })
        .await;
    }
}

/// Creates a namespace with a generated name.
pub async fn namespace(client: &Client) -> String {
    let namespace = Namespace {
        metadata: ObjectMeta { generate_name: Some("test-".into()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let made = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    made.metadata.name.unwrap()
}

impl Harness {
    async fn start(simulator: &[&str]) -> Self {
        let client = client().await;
        install_crds(&client).await;
        let namespace = namespace(&client).await;
        let directory = tempfile::tempdir().unwrap();
        let network = Network::start().await;
        let account = format!("--account=name=acc_1,plan=Pro,token={TOKEN}");
        let free = "--account=name=acc_free,plan=Free,token=lt_test_free";
        let linktree = Simulator::start(&[simulator, &[&account, free]].concat()).await;
        let log = directory.path().join("operator.log");
        let operator = Operator::spawn(&namespace, network.address, &log);
        let history = History::follow(&client, &namespace);
        Harness { client, namespace, linktree, network, operator, directory, history, nodes: 0 }
    }

    /// Starts another operator after the previous one has exited.
    pub fn restart_operator(&mut self) {
        self.operator = Operator::spawn(&self.namespace, self.network.address, &self.log_file());
    }

    /// As [`Harness::restart_operator`], which keeps the journals of deleted webhooks for so many seconds.
    pub fn restart_operator_keeping_journals(&mut self, seconds: u64) {
        self.operator = Operator::keeping_journals(&self.namespace, self.network.address, &self.log_file(), seconds);
    }

    /// As [`Harness::restart_operator`], with the permissions of this user only.
    pub fn restart_operator_as(&mut self, user: &str) {
        self.restart_operator_for(user, &[]);
    }

    /// As [`Harness::restart_operator_as`], for these namespaces as well.
    pub fn restart_operator_for(&mut self, user: &str, others: &[&str]) {
        let own = std::env::var("KUBECONFIG").unwrap();
        let mut config: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(own).unwrap()).unwrap();
        config["users"][0]["user"]["as"] = user.into();
        let file = self.directory.path().join("kubeconfig");
        std::fs::write(&file, serde_yaml_ng::to_string(&config).unwrap()).unwrap();
        let namespaces = [&[self.namespace.as_str()], others].concat();
        self.operator = Operator::spawn_as(&file, &namespaces, self.network.address, &self.log_file());
    }

    /// Starts another operator with leader election.
    pub fn candidate(&self) -> Operator {
        Operator::stand_for_election(&self.namespace, self.network.address, &self.log_file())
    }

    /// As [`Harness::restart_operator`], with a CA bundle for edges in front of the receivers.
    pub fn start_operator_behind_edge(&mut self, authority: &Path) {
        self.operator = Operator::behind_edge(&self.namespace, self.network.address, &self.log_file(), authority);
    }

    /// A directory that is deleted after the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies an object as kubectl does: unknown fields are rejected.
    pub async fn create<K>(&self, object: Value) -> Result<DynamicObject, kube::Error>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<K>(&()));
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        api.patch(&name, &PatchParams::apply("user").validation_strict(), &Patch::Apply(object)).await
    }

    /// Applies a merge patch to an object.
    pub async fn change<K>(&self, name: &str, change: Value)
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    /// Requests a sync with Linktree, by annotation.
    pub async fn request_sync<K>(&self, name: &str, value: &str)
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let annotation = json!({"webhooks.linktree-operator.dev/sync-requested-at": value});
        self.change::<K>(name, json!({"metadata": {"annotations": annotation}})).await;
    }

    /// Sets `key` of a Secret, and creates the Secret if there is none.
    pub async fn put_secret(&self, name: &str, key: &str, value: &str) {
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: value}});
        let params = PatchParams::apply("user").force();
        self.api::<Secret>().patch(name, &params, &Patch::Apply(secret)).await.unwrap();
    }

    /// Creates the connection `brand` to the simulator with its token; `edit` changes the spec.
    pub async fn connect(&self, edit: impl FnOnce(&mut Value)) {
        self.put_secret("linktree-api", "token", TOKEN).await;
        self.connect_without_token(edit).await;
    }

    pub async fn connect_without_token(&self, edit: impl FnOnce(&mut Value)) {
        let mut spec = json!({
            "baseURL": self.linktree.base_url(),
            "tokenSecretRef": {"name": "linktree-api"},
            "requestBudget": {"requestsPerMinute": 600},
            "syncPeriodSeconds": 10,
        });
        edit(&mut spec);
        self.create::<LinktreeConnection>(object("LinktreeConnection", "brand", spec)).await.unwrap();
    }

    /// Creates a webhook; returns the node for its receiver.
    pub async fn webhook(&mut self, name: &str, edit: impl FnOnce(&mut Value)) -> Kubelet {
        let mut spec = webhook_spec();
        edit(&mut spec);
        self.create::<LinktreeWebhook>(object("LinktreeWebhook", name, spec)).await.unwrap();
        self.node(name)
    }

    /// The node for the receiver of a webhook.
    pub fn node(&mut self, name: &str) -> Kubelet {
        let node = Kubelet::new(&self.client, &self.namespace, name, self.directory.path(), self.nodes);
        self.nodes += 1;
        self.network.route(&self.host(name), Destination::At(node.delivery_address()));
        node
    }

    /// Creates a connection and a webhook, starts the receiver, and waits until the webhook is ready.
    pub async fn settled(&mut self, name: &str) -> Kubelet {
        self.connect(|_| {}).await;
        let mut node = self.webhook(name, |_| {}).await;
        node.start().await;
        self.until_condition(name, "Ready", "True", "Available").await;
        node
    }

    /// The host name of the registered URL.
    pub fn host(&self, webhook: &str) -> String {
        format!("{webhook}-receiver.{}.svc.cluster.local", self.namespace)
    }

    /// The path of the registered URL.
    pub async fn delivery_path(&self, webhook: &str) -> String {
        url::Url::parse(&self.status(webhook).await.address.unwrap().url).unwrap().path().to_owned()
    }

    pub async fn connection(&self) -> LinktreeConnection {
        self.api::<LinktreeConnection>().get("brand").await.unwrap()
    }

    /// The stored signing secret of the webhook's subscription.
    pub async fn signing_secret(&self, webhook: &str) -> String {
        let stored = self.api::<Secret>().get(&format!("{webhook}-signing")).await.unwrap().data.unwrap();
        String::from_utf8(stored["secret"].0.clone()).unwrap()
    }

    /// The number of webhook reconciliations so far.
    pub async fn operator_reconciles(&self) -> u64 {
        self.operator.reconciles("LinktreeWebhook").await
    }

    /// Triggers this number of reconciliations of the webhook, by patching a Secret that it refers to.
    pub async fn trigger_reconciles(&self, webhook: &str, times: usize) {
        let secrets = self.api::<Secret>();
        for _ in 0..times {
            let before = self.operator_reconciles().await;
            let touch = json!({"metadata": {"annotations": {"touched": before.to_string()}}});
            let name = format!("{webhook}-signing");
            secrets.patch(&name, &PatchParams::default(), &Patch::Merge(touch)).await.unwrap();
            until("the webhook is reconciled", async || self.operator.reconciles("LinktreeWebhook").await > before)
                .await;
        }
    }

    pub async fn get(&self, webhook: &str) -> LinktreeWebhook {
        self.api::<LinktreeWebhook>().get(webhook).await.unwrap()
    }

    pub async fn status(&self, webhook: &str) -> LinktreeWebhookStatus {
        self.get(webhook).await.status.unwrap_or_default()
    }

    /// The webhook's condition of this type.
    pub async fn condition(&self, webhook: &str, of: &str) -> Option<Condition> {
        self.status(webhook).await.conditions.into_iter().find(|condition| condition.type_ == of)
    }

    /// Waits until the webhook's condition has this status and reason; returns its message.
    pub async fn until_condition(&self, webhook: &str, of: &str, status: &str, reason: &str) -> String {
        until_some(&format!("{webhook} has {of}={status} ({reason})"), async || {
            let found = self.condition(webhook, of).await?;
            (found.status == status && found.reason == reason).then_some(found.message)
        })
        .await
    }

    /// As [`Harness::until_condition`], for the connection `brand`.
    pub async fn until_connection(&self, of: &str, status: &str, reason: &str) -> String {
        until_some(&format!("the connection has {of}={status} ({reason})"), async || {
            let connection = self.connection().await;
            let found = connection.status?.conditions.into_iter().find(|condition| condition.type_ == of)?;
            (found.status == status && found.reason == reason).then_some(found.message)
        })
        .await
    }

    /// The account's subscriptions at Linktree, with their secrets.
    pub async fn subscriptions(&self) -> Vec<Value> {
        self.linktree.state().await["subscriptions"].as_array().unwrap().clone()
    }

    /// Linktree's calls after call number `since`, each as `METHOD path`.
    pub async fn calls_since(&self, since: u64) -> Vec<String> {
        let calls = self.linktree.control("GET", &format!("/calls?since={since}"), Value::Null).await;
        let calls = calls["calls"].as_array().unwrap().clone();
        calls.iter().map(|it| format!("{} {}", it["method"].as_str().unwrap(), it["path"].as_str().unwrap())).collect()
    }

    /// The times of Linktree's calls, in whole seconds.
    pub async fn call_times(&self) -> Vec<i64> {
        let calls = self.linktree.control("GET", "/calls", Value::Null).await;
        calls["calls"].as_array().unwrap().iter().map(|call| call["at"].as_i64().unwrap()).collect()
    }

    /// The number of Linktree's latest call.
    pub async fn last_call(&self) -> u64 {
        let calls = self.linktree.control("GET", "/calls", Value::Null).await;
        calls["calls"].as_array().unwrap().last().map_or(0, |call| call["number"].as_u64().unwrap())
    }

    /// Injects a fault into Linktree's API.
    pub async fn fault(&self, fault: Value) {
        self.linktree.control("POST", "/faults/api", fault).await;
    }

    /// Removes all faults of Linktree's API.
    pub async fn clear_faults(&self) {
        self.linktree.control("DELETE", "/faults/api", Value::Null).await;
    }

    /// The reasons of the Events of our kinds, oldest first, repeated by their count.
    pub async fn events(&self) -> Vec<String> {
        let mut events = self.api::<k8s_openapi::api::events::v1::Event>().list(&ListParams::default()).await.unwrap();
        events.items.sort_by_key(|event| event.event_time.clone());
        let of_ours = events.items.into_iter().filter(|event| {
            event.regarding.as_ref().and_then(|it| it.kind.as_deref()).is_some_and(|kind| kind.starts_with("Linktree"))
        });
        of_ours
            .flat_map(|event| {
                let times = event.series.map_or(1, |series| series.count);
                vec![event.reason.unwrap_or_default(); usize::try_from(times).unwrap()]
            })
            .collect()
    }

    /// Waits until exactly these Events were published.
    pub async fn until_events(&self, reasons: &[&str]) {
        until(&format!("the Events are {}", reasons.join(", ")), async || self.events().await == reasons).await;
    }

    /// The log of all operators of this test.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("operator.log")
    }

    /// The custom resources, as YAML.
    pub async fn objects(&self) -> String {
        let webhooks = self.api::<LinktreeWebhook>().list(&ListParams::default()).await.unwrap();
        let connections = self.api::<LinktreeConnection>().list(&ListParams::default()).await.unwrap();
        webhooks.into_iter().map(yaml).chain(connections.into_iter().map(yaml)).collect::<Vec<_>>().join("---\n")
    }

    /// Checks the invariants of every test: no secret leaked, every status was consistent, and kstatus computes the
    /// intended status of each.
    async fn assert_invariants(&self) {
        self.history.assert_consistent();
        let objects = self.history.objects();
        kstatus::assert_computes_intended(&objects);
        let events = self.api::<k8s_openapi::api::events::v1::Event>().list(&ListParams::default()).await.unwrap();
        let events = events.items.iter().map(|event| event.note.clone().unwrap_or_default()).collect::<String>();
        let texts = [self.log(), self.objects().await, Value::from(objects).to_string(), events].concat();
        let mut secrets = vec![TOKEN.to_owned()];
        secrets.extend(
            self.subscriptions().await.iter().filter_map(|it| it["signing_secret"].as_str().map(str::to_owned)),
        );
        for secret in secrets {
            assert!(!texts.contains(&secret), "a secret leaked: {secret}");
        }
    }

    async fn dump(&self) -> String {
        let mut dump = format!("==> objects\n{}", self.objects().await);
        let _ = write!(dump, "==> events\n{}\n", self.events().await.join("\n"));
        let _ = write!(dump, "==> calls to Linktree\n{}\n", self.calls_since(0).await.join("\n"));
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        let _ = write!(dump, "==> operator log\n{}\n", tail.join("\n"));
        dump
    }

    /// Deletes the namespace. Removes the finalizers itself, since the operator may be gone.
    async fn end(mut self) {
        self.operator.kill();
        let webhooks = self.api::<LinktreeWebhook>();
        for webhook in webhooks.list(&ListParams::default()).await.unwrap() {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            // It may be gone already.
            let _ = webhooks.patch(&webhook.name_any(), &PatchParams::default(), &patch).await;
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match namespaces.delete(&self.namespace, &DeleteParams::default()).await {
            // The test has deleted it.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            deleted => drop(deleted.unwrap()),
        }
    }
}

/// A minimal valid spec of a webhook.
pub fn webhook_spec() -> Value {
    json!({
        "connectionRef": {"name": "brand"},
        "events": ["link.created", "link.updated"],
        "endpoint": {"managed": {"exposure": {"type": "Service"}}},
        "sinks": [{"name": "cms", "http": {"url": "http://cms.marketing.svc.cluster.local/in"}}],
    })
}

/// A custom resource of one of our kinds.
pub fn object(kind: &str, name: &str, spec: impl Into<Value>) -> Value {
    json!({
        "apiVersion": "webhooks.linktree-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec.into(),
    })
}

/// Waits for a fixed time; only to show that nothing happens in it.
pub async fn quiet_for(time: Duration) {
    tokio::time::sleep(time).await;
}

fn yaml(mut object: impl serde::Serialize + kube::Resource) -> String {
    object.meta_mut().managed_fields = None;
    serde_yaml_ng::to_string(&object).unwrap()
}

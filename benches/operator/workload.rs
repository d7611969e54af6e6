//! The workload: namespaces, each with a connection and its webhooks.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use linktree_operator::{
    api::{connection::LinktreeConnection, crds, webhook::LinktreeWebhook},
    simulator::{self, Running},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{Scale, say};

const TOKEN: &str = "lt_test_bench";
/// Objects that are created concurrently.
const CONCURRENCY: usize = 16;

#[derive(Debug, Parser)]
struct Simulator {
    #[command(flatten)]
    args: simulator::Args,
}

/// Starts the simulated Linktree, with an account per namespace.
pub(crate) async fn linktree(scale: &Scale) -> Result<Running> {
    let fixed = ["simulator", "--api-port=0", "--control-port=0", "--no-rate-limit"].map(str::to_owned);
    let accounts = namespaces(scale).map(|name| format!("--account=name={name},plan=Pro,token={TOKEN}_{name}"));
    let args = Simulator::parse_from(fixed.into_iter().chain(accounts)).args;
    simulator::start(&args, CancellationToken::new()).await.context("cannot start the simulator")
}

fn namespaces(scale: &Scale) -> impl Iterator<Item = String> {
    (0..scale.namespaces()).map(namespace)
}

fn namespace(number: usize) -> String {
    format!("bench-{number}")
}

/// The API and the name of a webhook: consecutive numbers have different connections.
pub(crate) fn webhook(client: &Client, scale: &Scale, number: usize) -> (Api<LinktreeWebhook>, String) {
    let namespace = namespace(number % scale.namespaces());
    (Api::namespaced(client.clone(), &namespace), format!("links-{number}"))
}

/// Applies the custom resource definitions.
pub(crate) async fn install_crds(client: &Client) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds() {
        let name = crd.name_any();
        api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(&crd)).await?;
        let established = kube::runtime::conditions::is_crd_established();
        kube::runtime::wait::await_condition(api.clone(), &name, established).await?;
    }
    Ok(())
}

/// Creates all objects.
pub(crate) async fn fill(client: &Client, linktree: &Running, scale: &Scale) -> Result<()> {
    for name in namespaces(scale) {
        create::<Namespace>(&Api::all(client.clone()), json!({"metadata": {"name": name}})).await?;
        let token = json!({"metadata": {"name": "linktree-api"}, "stringData": {"token": format!("{TOKEN}_{name}")}});
        create::<Secret>(&Api::namespaced(client.clone(), &name), token).await?;
        let spec = json!({
            "baseURL": format!("http://{}", linktree.api),
            "tokenSecretRef": {"name": "linktree-api"},
            "requestBudget": {"requestsPerMinute": 600},
            "syncPeriodSeconds": scale.sync_period.as_secs(),
        });
        let connection = json!({"metadata": {"name": "brand"}, "spec": spec});
        create::<LinktreeConnection>(&Api::namespaced(client.clone(), &name), connection).await?;
    }
    let made = (0..scale.webhooks).map(|number| {
        let (api, name) = webhook(client, scale, number);
        let spec = json!({
            "connectionRef": {"name": "brand"},
            "events": ["link.created", "link.updated"],
            "endpoint": {"managed": {"exposure": {"type": "Service"}}},
            "sinks": [{"name": "cms", "http": {"url": "http://cms.marketing.svc.cluster.local/in"}}],
        });
        async move { create(&api, json!({"metadata": {"name": name}, "spec": spec})).await }
    });
    futures::stream::iter(made).buffer_unordered(CONCURRENCY).try_collect::<()>().await
}

async fn create<K>(api: &Api<K>, mut object: Value) -> Result<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    object["apiVersion"] = K::api_version(&()).into();
    object["kind"] = K::kind(&()).into();
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}

/// Waits until this number of webhooks is ready.
pub(crate) async fn all_ready(client: &Client, webhooks: usize) -> Result<()> {
    let config = watcher::Config::default().page_size(200);
    let changed = watcher(Api::<LinktreeWebhook>::all(client.clone()), config).default_backoff().applied_objects();
    let mut changed = std::pin::pin!(changed);
    let mut ready = HashSet::new();
    let mut reported = std::time::Instant::now();
    while ready.len() < webhooks {
        let Some(Ok(webhook)) = changed.next().await else { continue };
        let conditions = webhook.status.iter().flat_map(|status| &status.conditions);
        let is_ready = conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
        if is_ready {
            ready.insert((webhook.namespace(), webhook.name_any()));
        }
        if reported.elapsed() > Duration::from_secs(15) {
            reported = std::time::Instant::now();
            say(format!("{} of {webhooks} webhooks are ready", ready.len()));
        }
    }
    Ok(())
}

//! The nodes: create each StatefulSet's pod, ready at once, and pass each route Secret to the receivers.

use std::{fmt::Debug, sync::Arc, time::Duration};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::StatefulSet,
        core::v1::{Pod, Secret},
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use linktree_operator::route;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{receivers::Receivers, say};

/// Pods that are created concurrently.
const CONCURRENCY: usize = 16;
const OURS: &str = "app.kubernetes.io/managed-by=linktree-webhook-operator";

/// Acts as the nodes until the tasks are dropped.
pub(crate) fn play(client: &Client, receivers: &Arc<Receivers>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(pods(client.clone(), Arc::clone(receivers)));
    tasks.spawn(routes(client.clone(), Arc::clone(receivers)));
    tasks
}

fn changes<K>(client: &Client) -> impl futures::Stream<Item = K> + Send
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let config = watcher::Config::default().labels(OURS).page_size(200);
    let events = watcher(Api::<K>::all(client.clone()), config).default_backoff().applied_objects();
    events.inspect_err(|error| say(format!("watch failed, retrying: {error}"))).filter_map(async |it| it.ok())
}

async fn pods(client: Client, receivers: Arc<Receivers>) {
    let made = changes::<StatefulSet>(&client).enumerate().map(|(number, workload)| {
        let (client, address) = (client.clone(), receivers.address(number));
        async move {
            while let Err(error) = pod(&client, &workload, &address.to_string()).await {
                // The namespace may not have its ServiceAccount yet.
                say(format!("cannot create a pod, retrying: {error}"));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    });
    made.buffer_unordered(CONCURRENCY).collect::<()>().await;
}

async fn pod(client: &Client, workload: &StatefulSet, address: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &workload.namespace().unwrap_or_default());
    let name = format!("{}-0", workload.name_any());
    let labels = workload.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()?.labels.clone());
    let pod = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "receiver", "image": "localhost/receiver:bench"}],
        },
    });
    match api.create(&PostParams::default(), &serde_json::from_value(pod)?).await {
        Ok(_) => {}
        // The pod of a changed StatefulSet exists already.
        Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let condition = |of: &str| json!({"type": of, "status": "True"});
    let status = json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [condition("Ready"), condition("ContainersReady"), condition("PodScheduled")],
    }});
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

async fn routes(client: Client, receivers: Arc<Receivers>) {
    let mut secrets = std::pin::pin!(changes::<Secret>(&client));
    while let Some(secret) = secrets.next().await {
        let data = secret.data.unwrap_or_default();
        let (Some(ByteString(file)), Some(ByteString(token))) = (data.get(route::FILE), data.get("admin-token")) else {
            continue;
        };
        if let Err(error) = receivers.load(String::from_utf8_lossy(token).into_owned(), file) {
            say(format!("cannot parse a route: {error}"));
        }
    }
}

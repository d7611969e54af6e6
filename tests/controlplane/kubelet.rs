//! The kubelet and the StatefulSet controller for one receiver: its pod, with the receiver in this process on its own
//! address, and the mounted Secret as a file.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use linktree_operator::{
    clock,
    linktree::{
        headers::{self, SentAt},
        secret::Secret as SigningSecret,
        signature::Signature,
    },
    receiver::{self, Receiver},
    route::{self, ADMIN_PORT, DELIVERY_PORT, Route},
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::wait::{until, until_some};

/// The annotation whose change makes a kubelet sync a pod's mounted Secrets at once.
pub const ROUTE_DIGEST: &str = "webhooks.linktree-operator.dev/route-digest";

/// The node of one receiver.
pub struct Kubelet {
    client: Client,
    namespace: String,
    webhook: String,
    directory: PathBuf,
    /// The Secret with the certificate, if the pod mounts one.
    certificate: Option<String>,
    /// An address that is unique among tests.
    pub address: Ipv4Addr,
    running: Option<(DropGuard, JoinHandle<()>)>,
    refresher: Option<JoinHandle<()>>,
}

impl Kubelet {
    /// Creates the node for the webhook's receiver; `number` is unique among the receivers of a test.
    pub fn new(client: &Client, namespace: &str, webhook: &str, directory: &Path, number: u8) -> Self {
        let directory = directory.join(webhook);
        std::fs::create_dir_all(&directory).unwrap();
        // A process id has 22 bits, and every test runs in its own process.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        Kubelet {
            client: client.clone(),
            namespace: namespace.to_owned(),
            webhook: webhook.to_owned(),
            directory,
            certificate: None,
            address: Ipv4Addr::new(127, (number + 1) << 6 | high, middle, low),
            running: None,
            refresher: None,
        }
    }

    pub fn delivery_address(&self) -> SocketAddr {
        SocketAddr::from((self.address, DELIVERY_PORT))
    }

    /// Creates the pod once there is a StatefulSet, starts the receiver and reports it as ready.
    pub async fn start(&mut self) {
        let workload = until_some("the StatefulSet exists", async || {
            self.api::<StatefulSet>().get_opt(&format!("{}-receiver", self.webhook)).await.unwrap()
        })
        .await;
        if self.api::<Pod>().get_opt(&self.pod_name()).await.unwrap().is_none() {
            let pod = json!({
                "metadata": {"name": self.pod_name(), "labels": workload.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().labels},
                "spec": {"containers": [{"name": "receiver", "image": "localhost/receiver:test"}]},
            });
            let pod = serde_json::from_value(pod).unwrap();
            self.api::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
        }
        let (client, namespace, webhook) = (self.client.clone(), self.namespace.clone(), self.webhook.clone());
        let volumes = workload.spec.unwrap().template.spec.unwrap().volumes.unwrap_or_default();
        let certificate =
            volumes.into_iter().find(|volume| volume.name == "certificate").and_then(|volume| volume.secret);
        self.certificate = certificate.and_then(|source| source.secret_name);
        let certificate = self.certificate.clone();
        let mount = Mount { client, namespace, webhook, directory: self.directory.clone(), certificate };
        until("the route Secret can be mounted", async || mount.refresh().await).await;
        self.refresher.get_or_insert_with(|| tokio::spawn(mount.follow()));
        self.start_receiver().await;
        self.report(true).await;
    }

    /// Stops the receiver and reports the pod as not ready.
    pub async fn stop(&mut self) {
        if let Some((shutdown, task)) = self.running.take() {
            drop(shutdown);
            task.await.unwrap();
        }
        self.report(false).await;
    }

    /// Stops the receiver and deletes its pod.
    pub async fn stop_and_remove(&mut self) {
        self.stop().await;
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.api::<Pod>().delete(&self.pod_name(), &now).await.unwrap();
    }

    async fn start_receiver(&mut self) {
        let args = receiver::Args {
            tls_directory: self.certificate.as_ref().map(|_| self.directory.clone()),
            egress_allow: Vec::new(),
            ca_file: None,
            route_file: self.directory.join(route::FILE),
            journal: self.directory.join("journal"),
            delivery_address: self.delivery_address(),
            admin_address: SocketAddr::from((self.address, ADMIN_PORT)),
        };
        let receiver = Receiver::bind(args).await.unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(receiver.serve(shutdown.clone()));
        self.running = Some((shutdown.drop_guard(), task));
    }

    /// The pod's status, and the StatefulSet's, which follows it.
    async fn report(&self, ready: bool) {
        let condition = |of: &str| json!({"type": of, "status": if ready { "True" } else { "False" }});
        let pod = json!({"status": {
            "phase": "Running",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "conditions": [condition("Ready"), condition("ContainersReady"), {"type": "PodScheduled", "status": "True"}],
        }});
        self.patch_status::<Pod>(&self.pod_name(), pod).await;
        let workload = json!({"status": {"replicas": 1, "readyReplicas": u8::from(ready)}});
        self.patch_status::<StatefulSet>(&format!("{}-receiver", self.webhook), workload).await;
    }

    async fn patch_status<K>(&self, name: &str, status: serde_json::Value)
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        match self.api::<K>().patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await {
            // The operator may have deleted it.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            patched => drop(patched.unwrap()),
        }
    }

    /// Sends a delivery to the registered path, signed with `secret`; returns the response's status.
    pub async fn deliver(&self, path: &str, id: &str, secret: &str) -> u16 {
        let body = r#"{"type":"link.created","data":{"link_id":"l1"},"timestamp":1700000000}"#;
        self.deliver_body(path, id, secret, body).await
    }

    /// As [`Kubelet::deliver`], with this body.
    pub async fn deliver_body(&self, path: &str, id: &str, secret: &str, body: &'static str) -> u16 {
        let sent_at = SentAt::from_seconds(clock::now().as_second()).unwrap();
        let signature = Signature::sign(&SigningSecret::new(secret), &sent_at, body.as_bytes()).to_hex();
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = request.post(format!("http://{}{path}", self.delivery_address())).body(body);
        let request = request.header(headers::SIGNATURE, signature).header(headers::TIMESTAMP, sent_at.as_str());
        request.header(headers::DELIVERY_ID, id).send().await.unwrap().status().as_u16()
    }

    /// The secrets of the signing keys in the mounted file.
    pub fn receiver_keys(&self) -> Vec<String> {
        self.route().keys.iter().map(|key| key.secret.expose().to_owned()).collect()
    }

    /// The mounted route.
    pub fn route(&self) -> Route {
        Route::load(&self.directory.join(route::FILE)).unwrap()
    }

    pub fn pod_name(&self) -> String {
        format!("{}-receiver-0", self.webhook)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        if let Some(refresher) = &self.refresher {
            refresher.abort();
        }
    }
}

/// The mounted Secrets as files.
struct Mount {
    client: Client,
    namespace: String,
    webhook: String,
    directory: PathBuf,
    certificate: Option<String>,
}

impl Mount {
    /// Writes the route; returns whether its Secret exists.
    async fn refresh(&self) -> bool {
        self.write(&format!("{}-receiver-route", self.webhook), &[route::FILE]).await
    }

    /// Writes these keys of a Secret to files; returns whether it has all of them.
    async fn write(&self, secret: &str, files: &[&str]) -> bool {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let Ok(Some(secret)) = secrets.get_opt(secret).await else { return false };
        files.iter().all(|name| {
            let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(*name)) else { return false };
            let (file, scratch) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
            std::fs::write(&scratch, &bytes.0).is_ok() && std::fs::rename(scratch, file).is_ok()
        })
    }

    /// Refreshes the route only when the pod changes, like a kubelet without its slow periodic sync. The certificate
    /// depends on that periodic sync, so it is refreshed continuously.
    async fn follow(self) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut seen = None;
        loop {
            if let Ok(Some(pod)) = pods.get_opt(&format!("{}-receiver-0", self.webhook)).await {
                let digest = pod.annotations().get(ROUTE_DIGEST).cloned();
                if digest != seen && self.refresh().await {
                    seen = digest;
                }
            }
            if let Some(certificate) = &self.certificate {
                self.write(certificate, &[route::CERTIFICATE_FILE, route::CERTIFICATE_KEY_FILE]).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

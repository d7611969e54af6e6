//! The simulated node: the StatefulSet controller, a kubelet, and the receivers in the pods. A receiver has the route
//! file that its kubelet mounted, which may be stale.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use linktree_operator::{
    linktree::secret::Secret,
    operator::ports::{Challenge, Probe, ProbeResult, Receivers, Redriven},
    route::{
        Route,
        proof::Nonce,
        redrive::RedriveRequest,
        status::{ReceiverStatus, SinkStatus},
    },
};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::{
    edge,
    kubernetes::{Key, Kubernetes, Part},
};

const ROUTE_DIGEST: &str = "webhooks.linktree-operator.dev/route-digest";
/// The period of a kubelet's sync of mounted Secrets.
const SYNC: Duration = Duration::from_secs(60);
const STARTS_IN: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Node {
    kubernetes: Kubernetes,
    pods: Arc<Mutex<BTreeMap<Key, RunningPod>>>,
    /// Whether public URLs are reachable.
    reachable: Arc<Mutex<bool>>,
    varied: Arc<Mutex<Vec<Varied>>>,
    answers: Arc<AtomicU64>,
    /// The nodes that the public URLs lead to in turn; if there are none, this one.
    others: Arc<Mutex<Vec<Node>>>,
}

/// A source of answers of which each differs from the one before: it gets their number.
#[derive(Clone, Copy, Debug)]
pub enum Varied {
    Probe(fn(u64) -> ProbeResult),
    Status(fn(u64, &mut ReceiverStatus)),
}

/// A pod with its receiver.
struct RunningPod {
    address: IpAddr,
    template: Value,
    started: Instant,
    ready: bool,
    /// The route file and the admin token, as mounted.
    mounted: Option<(Vec<u8>, String)>,
    synced: Instant,
    digest: Value,
}

impl Node {
    pub fn start(kubernetes: &Kubernetes) -> Self {
        let node = Node {
            kubernetes: kubernetes.clone(),
            pods: Arc::default(),
            reachable: Arc::new(Mutex::new(true)),
            varied: Arc::default(),
            answers: Arc::default(),
            others: Arc::default(),
        };
        edge::start(kubernetes);
        let running = node.clone();
        tokio::spawn(async move { running.run().await });
        node
    }

    /// Sets whether the public URLs reach the receivers.
    pub fn set_reachable(&self, reachable: bool) {
        *self.reachable.lock().unwrap() = reachable;
    }

    /// Sets the nodes that the public URLs lead to in turn.
    pub fn lead_to(&self, nodes: &[&Node]) {
        *self.others.lock().unwrap() = nodes.iter().map(|node| (*node).clone()).collect();
    }

    /// Sets the sources of varying answers.
    pub fn vary(&self, varied: &[Varied]) {
        varied.clone_into(&mut self.varied.lock().unwrap());
    }

    /// The number of probes and status requests that varied answers got.
    pub fn varied_answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    async fn run(self) {
        let mut changes = self.kubernetes.changes();
        loop {
            self.reconcile();
            let starting = self.pods.lock().unwrap().values().any(|pod| !pod.ready);
            let due = if starting { STARTS_IN } else { SYNC };
            let _ = tokio::time::timeout(due, changes.changed()).await;
            // Coalesces changes of one moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn reconcile(&self) {
        let wanted: BTreeMap<Key, Value> = self
            .kubernetes
            .everything()
            .into_iter()
            .filter_map(|(key, set)| {
                let runs = key.kind.kind == "StatefulSet"
                    && set["spec"]["replicas"].as_u64() != Some(0)
                    && set["metadata"]["deletionTimestamp"].is_null();
                runs.then(|| (self.kubernetes.key("Pod", &key.namespace, &format!("{}-0", key.name)), set))
            })
            .collect();
        let mut pods = self.pods.lock().unwrap();
        let gone = |key: &Key, pod: &RunningPod| {
            self.kubernetes.get(key).is_none()
                || wanted.get(key).is_none_or(|set| set["spec"]["template"] != pod.template)
        };
        let ended: Vec<Key> = pods.iter().filter(|(key, pod)| gone(key, pod)).map(|(key, _)| key.clone()).collect();
        for key in ended {
            let _ = self.kubernetes.delete(&key);
            pods.remove(&key);
        }
        for (key, set) in &wanted {
            if !pods.contains_key(key) && self.kubernetes.get(key).is_none() {
                let started = self.create(key, set, pods.len());
                pods.insert(key.clone(), started);
            }
        }
        for (key, pod) in pods.iter_mut() {
            self.sync(key, pod);
        }
    }

    fn create(&self, key: &Key, set: &Value, number: usize) -> RunningPod {
        let mut pod = json!({"metadata": set["spec"]["template"]["metadata"], "spec": set["spec"]["template"]["spec"]});
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "controller": true,
            "name": set["metadata"]["name"], "uid": set["metadata"]["uid"],
        }]);
        self.kubernetes.apply(key, "statefulset-controller", pod).unwrap();
        let address = IpAddr::from([10, 0, 0, u8::try_from(number + 1).unwrap()]);
        let now = Instant::now();
        let template = set["spec"]["template"].clone();
        RunningPod { address, template, started: now, ready: false, mounted: None, synced: now, digest: Value::Null }
    }

    fn sync(&self, key: &Key, pod: &mut RunningPod) {
        let Some(object) = self.kubernetes.get(key) else { return };
        let digest = object["metadata"]["annotations"][ROUTE_DIGEST].clone();
        let due = pod.mounted.is_none() || digest != pod.digest || pod.synced.elapsed() >= SYNC;
        if due && pod.started.elapsed() >= STARTS_IN {
            pod.synced = Instant::now();
            pod.digest = digest;
            if let Some(mounted) = self.route(key) {
                pod.mounted = Some(mounted);
            }
        }
        if pod.mounted.is_some() && !pod.ready {
            pod.ready = true;
            let status = json!({"status": {
                "podIP": pod.address.to_string(), "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            }});
            self.kubernetes.merge(key, Part::Status, &status).unwrap();
        }
    }

    /// The current content of the route Secret.
    fn route(&self, pod: &Key) -> Option<(Vec<u8>, String)> {
        let name = format!("{}-route", pod.name.strip_suffix("-0")?);
        let secret = self.kubernetes.get(&self.kubernetes.key("Secret", &pod.namespace, &name))?;
        let value = |key: &str| STANDARD.decode(secret["data"][key].as_str()?).ok();
        Some((value("route.json")?, String::from_utf8(value("admin-token")?).ok()?))
    }
}

#[async_trait]
impl Receivers for Node {
    async fn redrive(&self, _: IpAddr, _: &Secret, _: &RedriveRequest) -> Redriven {
        Redriven::Accepted { matched: 0 }
    }

    async fn status(&self, address: IpAddr, admin_token: &Secret) -> Option<ReceiverStatus> {
        let pods = self.pods.lock().unwrap();
        let pod = pods.values().find(|pod| pod.address == address && pod.ready)?;
        let (file, token) = pod.mounted.as_ref()?;
        if token.as_str() != admin_token.expose() {
            return None;
        }
        let route: Route = serde_json::from_slice(file).ok()?;
        let sink = |name: &str| SinkStatus {
            name: name.to_owned(),
            last_success_time: None,
            consecutive_failures: 0,
            backlog: Some(0),
            dead_lettered: Some(0),
            last_failure: None,
            last_answer: None,
            held: None,
            dropped: 0,
        };
        let mut status = ReceiverStatus {
            sinks: route.sinks.iter().map(|it| sink(&it.name)).collect(),
            ..ReceiverStatus::idle(Route::digest(file))
        };
        for varied in self.varied.lock().unwrap().iter() {
            if let Varied::Status(vary) = varied {
                vary(self.answers.fetch_add(1, Ordering::Relaxed), &mut status);
            }
        }
        Some(status)
    }
}

#[async_trait]
impl Probe for Node {
    async fn probe(&self, url: &Url, challenge: Option<&Challenge>) -> ProbeResult {
        for varied in self.varied.lock().unwrap().iter() {
            if let Varied::Probe(answer) = varied {
                return answer(self.answers.fetch_add(1, Ordering::Relaxed));
            }
        }
        if !*self.reachable.lock().unwrap() || !edge::is_routed(&self.kubernetes, url) {
            return ProbeResult::ConnectionFailed { problem: "connection refused".to_owned() };
        }
        let Some(challenge) = challenge else {
            let problem = "an answer that is not the receiver's".to_owned();
            return ProbeResult::Foreign { status: 401, problem, certificate_expires: None };
        };
        let nonce = Nonce::new([7; 32]);
        match self.destination().proof(url, nonce) {
            Some(proof) if challenge.is_met_by(nonce, url.path(), proof.as_bytes()) => {
                ProbeResult::Succeeded { certificate_expires: None }
            }
            Some(_) => ProbeResult::Unexpected { problem: "another receiver answered".to_owned() },
            None => ProbeResult::ConnectionFailed { problem: "connection refused".to_owned() },
        }
    }
}

impl Node {
    /// The node that the public URLs lead to now.
    fn destination(&self) -> Node {
        let mut others = self.others.lock().unwrap();
        let count = others.len();
        others.rotate_left(1.min(count));
        others.last().cloned().unwrap_or_else(|| self.clone())
    }

    /// The proof of this node's receiver for a URL.
    fn proof(&self, url: &Url, nonce: Nonce) -> Option<String> {
        let pods = self.pods.lock().unwrap();
        pods.values().filter(|pod| pod.ready).find_map(|pod| {
            let (file, _) = pod.mounted.as_ref()?;
            let route: Route = serde_json::from_slice(file).ok()?;
            (route.path == url.path()).then(|| nonce.proof(&route.probe_key, &route.path, &Route::digest(file)))
        })
    }
}

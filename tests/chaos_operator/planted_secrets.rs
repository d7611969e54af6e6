//! The real binary with `RUST_LOG=trace`, while the API server and Linktree answer with malformed bodies that contain
//! secrets: no line of its log contains one, neither as it is nor in base64 or hex.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{cluster::NAMESPACE, kubernetes::Kubernetes};

/// Number of connections, each with a webhook: one for each way in which Linktree answers.
const CONNECTIONS: usize = 12;
const KUBE_TOKEN: &str = "kube-planted-0123456789";
const SINK_SECRET: &str = "sink-planted-0123456789";
const DEADLINE: Duration = Duration::from_secs(90);

fn token(number: usize) -> String {
    format!("lt_planted-{number:02}-0123456789")
}

fn signing_secret(number: usize) -> String {
    format!("whsec_planted-{number:02}-0123456789")
}

/// The servers around the binary.
struct World {
    kubernetes: Kubernetes,
    /// Whether reads of Secrets are answered with malformed bodies.
    malformed: AtomicBool,
    /// The numbers of such answers, and of Linktree's.
    answered: [AtomicUsize; 2],
}

impl World {
    async fn kubernetes(self: Arc<Self>, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let is_secret = head.uri.path().contains("/secrets/");
        let request = http::Request::from_parts(head, bytes);
        let answer = self.kubernetes.answer(&request).map(Body::new);
        if !self.malformed.load(Ordering::Relaxed) || !is_secret {
            return answer;
        }
        let number = self.answered[0].fetch_add(1, Ordering::Relaxed);
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let secret = serde_json::from_slice(&bytes).unwrap_or_default();
        let (status, text) = malformed_secret(number, head.status.as_u16(), &secret, text);
        Response::builder().status(status).header("content-type", "application/json").body(Body::from(text)).unwrap()
    }

    async fn linktree(self: Arc<Self>, request: Request) -> Response {
        self.answered[1].fetch_add(1, Ordering::Relaxed);
        let sent = request.headers().get(AUTHORIZATION).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        let number = (0..CONNECTIONS).find(|number| sent.contains(&token(*number))).unwrap_or_default();
        let path = request.uri().path().to_owned();
        let is_create = *request.method() == http::Method::POST;
        let (status, text) = match (path.as_str(), is_create) {
            ("/v1/me", _) => (200, json!({"id": "acc_1", "username": "u", "plan": "Pro"}).to_string()),
            (_, false) if number < CONNECTIONS / 2 => (200, json!({"data": []}).to_string()),
            (_, _) => malformed_answer(number, &sent),
        };
        Response::builder().status(status).header("x-echo", sent).body(Body::from(text)).unwrap()
    }
}

/// A Secret as a broken API server or admission webhook answers it.
fn malformed_secret(number: usize, status: u16, secret: &Value, text: String) -> (u16, String) {
    let data = secret["data"].to_string();
    let with = |field: &str, value: Value| {
        let mut secret = secret.clone();
        secret[field] = value;
        (status, secret.to_string())
    };
    let rejected = |code: u16| {
        let message = format!("admission webhook denied the request: {text}");
        (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": message}).to_string())
    };
    match number % 8 {
        0 => with("data", data.into()),
        1 => with("metadata", secret["data"].clone()),
        2 => with("kind", secret["data"].clone()),
        3 => (status, text[..text.len() / 2].to_owned()),
        4 => (status, format!("{text}{text}")),
        5 => (500, text),
        6 => rejected(422),
        _ => rejected(500),
    }
}

/// An answer of Linktree that repeats the token, or contains a signing secret where none is expected.
fn malformed_answer(number: usize, sent: &str) -> (u16, String) {
    let secret = signing_secret(number);
    let message =
        |code: u16| (code, json!({"error": "x", "message": format!("cannot accept {sent} {secret}")}).to_string());
    match number {
        0 => (201, json!({"id": {"id": "wh_0"}, "signing_secret": secret}).to_string()),
        1 => (201, json!({"id": "wh_1", "signing_secret": {"value": secret}}).to_string()),
        2 => (201, format!("{{\"id\": \"wh_2\", \"signing_secret\": \"{secret}\"")),
        3 => (201, json!({"id": "wh_3", "signing_secret": secret, "events": secret}).to_string()),
        4 => message(422),
        5 => message(409),
        6 => message(400),
        7 => message(401),
        8 => message(403),
        9 => message(500),
        10 => (200, format!("<html>{sent} {secret}</html>")),
        _ => (200, json!({"data": [{"id": "wh_11", "signing_secret": secret, "url": 7}, secret, sent]}).to_string()),
    }
}

/// Serves a router on a port of its own.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

fn create_objects(kubernetes: &Kubernetes, linktree: &str) {
    let apply = |kind: &str, name: &str, object: Value| {
        kubernetes.apply(&kubernetes.key(kind, NAMESPACE, name), "user", object).unwrap();
    };
    apply("Secret", "cms", json!({"stringData": {"token": SINK_SECRET}}));
    for number in 0..CONNECTIONS {
        apply("Secret", &format!("token-{number}"), json!({"stringData": {"token": token(number)}}));
        let spec = json!({"baseURL": linktree, "tokenSecretRef": {"name": format!("token-{number}")}});
        apply("LinktreeConnection", &format!("brand-{number}"), json!({"spec": spec}));
        let sink = json!({"url": "https://cms.example.com/in", "authSecretRef": {"name": "cms", "key": "token"}});
        let spec = json!({
            "connectionRef": {"name": format!("brand-{number}")},
            "events": ["link.created"],
            "endpoint": {"managed": {"host": "hooks.example.com", "exposure": {"type": "None"}}},
            "sinks": [{"name": "cms", "http": sink}],
        });
        apply("LinktreeWebhook", &format!("links-{number}"), json!({"spec": spec}));
    }
}

fn start(kubernetes: &str, folder: &tempfile::TempDir) -> Child {
    let kubeconfig = folder.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": kubernetes}}],
        "users": [{"name": "u", "user": {"token": KUBE_TOKEN}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_linktree-operator"))
        .args(["operator", "--receiver-image=receiver:1", "--metrics-address=127.0.0.1:0"])
        .args(["--egress-allow=127.0.0.0/8", &format!("--watch-namespace={NAMESPACE}")])
        .env("KUBECONFIG", kubeconfig)
        .env("RUST_LOG", "trace,kube_client=trace,hyper=trace,h2=trace,tower=trace,rustls=trace,reqwest=trace")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The spellings of a secret that a log must not contain.
fn spellings(secret: &str) -> Vec<String> {
    // Within a longer text that is encoded, a secret begins at one of three places of a group of four characters.
    let encoded = (0..3).map(|before| {
        let text = STANDARD.encode([vec![b' '; before], secret.as_bytes().to_vec()].concat());
        text[4.min(before * 4)..text.len() - 4].to_owned()
    });
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let debug = format!("{:?}", secret.as_bytes());
    encoded.chain([secret.to_owned(), hex, debug.trim_matches(['[', ']']).to_owned()]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_contains_a_secret() {
    let world = Arc::new(World {
        kubernetes: Kubernetes::start(),
        malformed: AtomicBool::new(false),
        answered: Default::default(),
    });
    let (one, other) = (Arc::clone(&world), Arc::clone(&world));
    let linktree = serve(Router::new().fallback(move |request| Arc::clone(&one).linktree(request))).await;
    let kubernetes = serve(Router::new().fallback(move |request| Arc::clone(&other).kubernetes(request))).await;
    create_objects(&world.kubernetes, &linktree);
    let folder = tempfile::tempdir().unwrap();
    let mut operator = start(&kubernetes, &folder);
    let mut stderr = operator.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        log
    });
    let began = Instant::now();
    // Each connection was listed and each webhook registered or rejected; then each Secret is read in every way.
    let mut number = 0;
    loop {
        let [secrets, answers] = [0, 1].map(|at| world.answered[at].load(Ordering::Relaxed));
        let registered = answers >= 2 * CONNECTIONS + 2;
        world.malformed.store(registered, Ordering::Relaxed);
        if secrets >= 100 || began.elapsed() > DEADLINE {
            break;
        }
        number += 1;
        for webhook in 0..CONNECTIONS {
            for (kind, name) in [("LinktreeWebhook", "links"), ("LinktreeConnection", "brand")] {
                let noise = json!({"metadata": {"annotations": {"example.com/noise": number.to_string()}}});
                let key = world.kubernetes.key(kind, NAMESPACE, &format!("{name}-{webhook}"));
                world.kubernetes.merge(&key, crate::kubernetes::Part::Main, &noise).unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    operator.kill().unwrap();
    operator.wait().unwrap();
    let log = log.join().unwrap();
    let counts = [0, 1].map(|at| world.answered[at].load(Ordering::Relaxed));
    assert!(counts[0] >= 100 && counts[1] > CONNECTIONS, "{counts:?}\n{}", &log[..log.len().min(20_000)]);

    let mut planted = vec![KUBE_TOKEN.to_owned(), SINK_SECRET.to_owned()];
    planted.extend((0..CONNECTIONS).flat_map(|number| [token(number), signing_secret(number)]));
    let tokens =
        world.kubernetes.list("Secret", NAMESPACE).into_iter().filter_map(|secret| {
            String::from_utf8(STANDARD.decode(secret["data"]["admin-token"].as_str()?).ok()?).ok()
        });
    planted.extend(tokens);
    assert!(planted.len() > 2 + 2 * CONNECTIONS, "there is no admin token");
    let statuses =
        ["LinktreeWebhook", "LinktreeConnection", "Event"].map(|kind| world.kubernetes.list(kind, NAMESPACE));
    let statuses = json!(statuses).to_string();
    for secret in &planted {
        for spelling in spellings(secret) {
            for (name, text) in [("log", &log), ("statuses", &statuses)] {
                if let Some(at) = text.find(&spelling) {
                    let line = text[at.saturating_sub(300)..].chars().take(700).collect::<String>();
                    panic!("{secret} is in the {name} as {spelling}: {line}");
                }
            }
        }
    }
}

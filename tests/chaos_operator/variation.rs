//! Answers of the world that never stay the same: texts, times and counts in them may cost few status writes and probes,
//! and no reconciliation may cause the next one.

use jiff::{SignedDuration, Timestamp};
use linktree_operator::{
    operator::ports::ProbeResult,
    route::status::{JournalHealth, ReceiverStatus},
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NAMESPACE},
    gate::{Failure, Fate},
    kubernetes::Part,
    node::Varied,
    row::{Row, count},
    sample::sample,
    time, workers,
};

/// More than an hour, so that an hour may begin at several moments.
const SECONDS: u64 = 5400;

/// Five minutes in which other clients write often.
const BURST: u64 = 300;

/// The sources of the variation, and whether another client changes an object of the webhook all the time.
#[derive(Clone, Debug, Default)]
struct Case {
    name: String,
    varied: Vec<Varied>,
    pod: Option<fn(u64) -> Value>,
    /// The calls of the operator that fail, each time with another message.
    calls: Vec<(&'static str, u16)>,
    noise: bool,
    /// In tenths, how often such a call fails.
    tenths: u64,
}

fn redirect(number: u64) -> ProbeResult {
    ProbeResult::Unexpected { problem: format!("a redirect (302) to https://login.example.com/?state={number}") }
}

fn refused(number: u64) -> ProbeResult {
    ProbeResult::ConnectionFailed { problem: format!("connection refused (port {number})") }
}

fn unresolved(number: u64) -> ProbeResult {
    ProbeResult::DnsFailed { problem: format!("query {number} failed") }
}

fn handshake(number: u64) -> ProbeResult {
    ProbeResult::TlsFailed { problem: format!("alert {number}") }
}

fn expiring(number: u64) -> ProbeResult {
    let expires = Timestamp::from_second(1_767_225_600).unwrap() + SignedDuration::from_secs(90_000 + number as i64);
    ProbeResult::Succeeded { certificate_expires: Some(expires) }
}

fn expired(number: u64) -> ProbeResult {
    ProbeResult::CertificateExpired { at: Timestamp::from_second(number as i64).ok() }
}

fn journal(number: u64, status: &mut ReceiverStatus) {
    status.journal = JournalHealth::Failed { problem: format!("error {number}") };
}

fn backlog(number: u64, status: &mut ReceiverStatus) {
    status.backlog = Some(number);
}

fn waiting(number: u64) -> Value {
    json!({"waiting": {"reason": "ImagePullBackOff", "message": format!("request {number}: 429")}})
}

fn crashing(number: u64) -> Value {
    json!({"waiting": {"reason": "CrashLoopBackOff", "message": format!("back-off {number}s restarting")}})
}

/// The name of a source of varying answers, and the answer by a number.
type Source<T> = (&'static str, fn(u64) -> T);
/// The same for a change of a receiver's status.
type StatusSource = (&'static str, fn(u64, &mut ReceiverStatus));

const PROBES: [Source<ProbeResult>; 6] = [
    ("a redirect's target", redirect),
    ("a connection's error", refused),
    ("a resolver's error", unresolved),
    ("a handshake's error", handshake),
    ("a certificate's end", expiring),
    ("an expired certificate's end", expired),
];
const STATUSES: [StatusSource; 2] = [("a journal's error", journal), ("a backlog", backlog)];
const PODS: [Source<Value>; 2] = [("a pull's error", waiting), ("a crash", crashing)];
const CALLS: [(&str, u16); 20] = [
    ("GET /v1/webhooks", 400),
    ("GET /v1/webhooks", 401),
    ("GET /v1/webhooks", 403),
    ("GET /v1/webhooks", 500),
    ("PATCH /v1/webhooks/{id}", 400),
    ("PATCH /v1/webhooks/{id}", 403),
    ("PATCH /v1/webhooks/{id}", 409),
    ("PATCH /v1/webhooks/{id}", 422),
    ("PATCH /v1/webhooks/{id}", 503),
    ("POST /v1/webhooks", 403),
    ("POST /v1/webhooks", 409),
    ("POST /v1/webhooks", 422),
    ("PATCH secrets", 403),
    ("PATCH secrets", 422),
    ("PATCH statefulsets", 403),
    ("PATCH statefulsets", 422),
    ("PATCH statefulsets", 500),
    ("GET statefulsets", 503),
    ("GET pods", 500),
    ("POST events", 403),
];

/// Each source alone, with and without noise, and then mixtures of several.
fn cases(rng: &mut StdRng) -> Vec<Case> {
    let mut cases = Vec::new();
    for noise in [false, true] {
        let case = |name: &str| Case { name: name.to_owned(), noise, tenths: 10, ..Case::default() };
        let probe = |(name, answer)| Case { varied: vec![Varied::Probe(answer)], ..case(name) };
        cases.extend(PROBES.map(probe));
        let status = |(name, answer)| Case { varied: vec![Varied::Status(answer)], ..case(name) };
        cases.extend(STATUSES.map(status));
        cases.extend(PODS.map(|(name, state)| Case { pod: Some(state), ..case(name) }));
        cases.push(case("nothing"));
        let call = |call: (&'static str, u16)| Case { calls: vec![call], ..case(&format!("{} {}", call.0, call.1)) };
        cases.extend(CALLS.map(call));
    }
    cases.extend((0..12).map(|number| mixture(number, rng)));
    cases
}

fn mixture(number: usize, rng: &mut StdRng) -> Case {
    let probe = rng.random_bool(0.7).then(|| Varied::Probe(PROBES.choose(rng).unwrap().1));
    let status = rng.random_bool(0.5).then(|| Varied::Status(STATUSES.choose(rng).unwrap().1));
    Case {
        name: format!("mixture {number}"),
        varied: probe.into_iter().chain(status).collect(),
        pod: rng.random_bool(0.3).then(|| PODS.choose(rng).unwrap().1),
        calls: CALLS.choose_multiple(rng, 3).copied().collect(),
        noise: rng.random_bool(0.5),
        tenths: rng.random_range(3..=10),
    }
}

/// Lets the case's calls fail.
fn fail(case: &Case, cluster: &Cluster) {
    let (calls, tenths, mut number) = (case.calls.clone(), case.tenths, 0_u64);
    cluster.calls.judge(Box::new(move |call| {
        let Some((_, code)) = calls.iter().find(|(what, _)| call.what == *what) else { return Fate::Passes };
        number += 1;
        if number * 7 % 10 < tenths {
            Fate::Fails(Failure::Message(*code, format!("request {number} of {}", number * 7919)))
        } else {
            Fate::Passes
        }
    }));
}

/// The times, in milliseconds, of the webhook's status writes without a change of a reason and of more than counters.
fn text_writes(cluster: &Cluster, since: u64) -> Vec<i64> {
    let reasons = |object: &Option<Value>| {
        let conditions = object.as_ref().map(|it| it["status"]["conditions"].clone()).unwrap_or_default();
        let conditions = conditions.as_array().cloned().unwrap_or_default();
        conditions.iter().map(|it| json!([it["type"], it["status"], it["reason"]])).collect::<Vec<_>>()
    };
    let without_counters = |object: &Option<Value>| {
        let mut status = object.as_ref().map(|it| it["status"].clone()).unwrap_or_default();
        for counters in ["receiver", "sinks"] {
            status.as_object_mut().map(|status| status.remove(counters));
        }
        status
    };
    cluster.kubernetes.read_log(|log| {
        let ours = log.iter().filter(|change| change.version > since && change.key.kind.kind == "LinktreeWebhook");
        let writes = ours.filter(|change| {
            reasons(&change.before) == reasons(&change.after)
                && without_counters(&change.before) != without_counters(&change.after)
        });
        writes.map(|change| change.at.as_millisecond()).collect()
    })
}

fn violations(case: &Case, writes: &[i64], answers: u64) -> Vec<String> {
    let most = |span: i64| {
        let within = |first: &i64| writes.iter().filter(|at| (*first..first + span).contains(*at)).count();
        writes.iter().map(within).max().unwrap_or(0)
    };
    let mut violations = Vec::new();
    for (span, limit) in [(3_000, 1), (3_600_000, 20)] {
        if most(span) > limit {
            violations.push(format!("{} status writes in {} s", most(span), span / 1000));
        }
    }
    let is_probe = matches!(case.varied[..], [Varied::Probe(_)]);
    if is_probe && answers > SECONDS / 2 {
        violations.push(format!("{answers} probes in {SECONDS} s"));
    }
    violations
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        let registers = case.calls.iter().any(|(what, _)| *what == "POST /v1/webhooks");
        if registers {
            fail(case, &cluster);
            cluster.connect();
            cluster.webhook("links", |_| {});
            time::pass(60).await;
        } else if let Err(problem) = cluster.settled("links").await {
            return vec![problem];
        }
        fail(case, &cluster);
        if !case.calls.is_empty() {
            // Needs a call of each kind: another subscription, another route and another pod.
            let receiver = json!({"redactFields": ["geo_city"], "maxBodyBytes": 131_072});
            let changed = json!({"spec": {"events": ["link.deleted"], "receiver": receiver}});
            cluster.change("LinktreeWebhook", "links", &changed).unwrap();
            time::pass(30).await;
        }
        let since = cluster.kubernetes.version();
        cluster.node.vary(&case.varied);
        let (began, mut number) = (tokio::time::Instant::now(), 0_u64);
        while began.elapsed().as_secs() < SECONDS {
            number += 1;
            if case.noise {
                let noise = json!({"metadata": {"annotations": {"example.com/noise": number.to_string()}}});
                drop(cluster.change("Service", "links-receiver", &noise));
            }
            if let Some(state) = case.pod {
                let container = json!({"name": "receiver", "state": state(number)});
                let status = json!({"status": {"containerStatuses": [container]}});
                let pod = cluster.kubernetes.key("Pod", NAMESPACE, "links-receiver-0");
                // Between two pods there is none.
                drop(cluster.kubernetes.merge(&pod, Part::Status, &status));
            }
            let pause = if began.elapsed().as_secs() < BURST { 700 } else { 10_000 };
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        }
        violations(case, &text_writes(&cluster, since), cluster.node.varied_answers())
    })
}

#[test]
fn varying_answers() {
    let mut row = Row::new("varying answers", "varying_answers");
    let cases = cases(&mut row.rng());
    let cases = sample(&row, cases, count(74, 4));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        violations.into_iter().for_each(|what| row.violated(format!("{}: {what}\n    {case:?}", case.name)));
    }
    row.finish();
}

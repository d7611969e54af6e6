//! Answers of the world that never stay the same: texts, times and counts in them may cost few status writes and probes,
//! and no reconciliation may cause the next one.

use jiff::{SignedDuration, Timestamp};
use linktree_operator::{
    operator::ports::ProbeResult,
    route::status::{JournalHealth, ReceiverStatus},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NAMESPACE},
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

/// The source of the variation, and whether another client changes an object of the webhook all the time.
struct Case {
    name: &'static str,
    varied: Option<Varied>,
    pod: Option<fn(u64) -> Value>,
    noise: bool,
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

fn cases() -> Vec<Case> {
    type Probes = fn(u64) -> ProbeResult;
    type Statuses = fn(u64, &mut ReceiverStatus);
    type Pods = fn(u64) -> Value;
    let probes: [(&str, Probes); 6] = [
        ("a redirect's target", redirect),
        ("a connection's error", refused),
        ("a resolver's error", unresolved),
        ("a handshake's error", handshake),
        ("a certificate's end", expiring),
        ("an expired certificate's end", expired),
    ];
    let statuses: [(&str, Statuses); 2] = [("a journal's error", journal), ("a backlog", backlog)];
    let pods: [(&str, Pods); 2] = [("a pull's error", waiting), ("a crash", crashing)];
    let mut cases = Vec::new();
    for noise in [false, true] {
        let case = |name, varied, pod| Case { name, varied, pod, noise };
        cases.extend(probes.map(|(name, answer)| case(name, Some(Varied::Probe(answer)), None)));
        cases.extend(statuses.map(|(name, answer)| case(name, Some(Varied::Status(answer)), None)));
        cases.extend(pods.map(|(name, state)| case(name, None, Some(state))));
        cases.push(case("nothing", None, None));
    }
    cases
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
    let is_probe = matches!(case.varied, Some(Varied::Probe(_)));
    if is_probe && answers > SECONDS / 2 {
        violations.push(format!("{answers} probes in {SECONDS} s"));
    }
    violations
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        if let Err(problem) = cluster.settled("links").await {
            return vec![problem];
        }
        let since = cluster.kubernetes.version();
        cluster.node.vary(case.varied);
        let (began, mut number) = (tokio::time::Instant::now(), 0_u64);
        while began.elapsed().as_secs() < SECONDS {
            number += 1;
            if case.noise {
                let noise = json!({"metadata": {"annotations": {"example.com/noise": number.to_string()}}});
                cluster.change("Service", "links-receiver", &noise).unwrap();
            }
            if let Some(state) = case.pod {
                let container = json!({"name": "receiver", "state": state(number)});
                let status = json!({"status": {"containerStatuses": [container]}});
                let pod = cluster.kubernetes.key("Pod", NAMESPACE, "links-receiver-0");
                cluster.kubernetes.merge(&pod, Part::Status, &status).unwrap();
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
    let cases = sample(&row, cases(), count(22, 4));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        let name = format!("{}, noise: {}", case.name, case.noise);
        violations.into_iter().for_each(|what| row.violated(format!("{name}: {what}")));
    }
    row.finish();
}

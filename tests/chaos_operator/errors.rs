//! Each call of the operator fails with each kind of error: once, a few times, and for a long time.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::json;

use crate::{
    cases::{self, Disturbance, Undisturbed},
    cluster::Cluster,
    gate::{Call, Failure, Fate, Peer},
    oracle::End,
    row::{Row, count},
    time,
};

/// A fault: the call, its first failing occurrence, and the number of failures.
#[derive(Clone)]
struct Fault {
    call: Call,
    from: usize,
    times: usize,
    failure: Failure,
    /// Whether the call takes effect, and only its response fails.
    applied: bool,
}

fn kinds(call: &Call) -> Vec<(Failure, bool)> {
    let status = |code: u16| (Failure::Status(code, None), false);
    let retry_after = |after: &str| (Failure::Status(429, Some(after.to_owned())), false);
    let html = Failure::Says("text/html", "<!doctype html><title>Sign in</title>");
    let late = Failure::Late(Duration::from_secs(30));
    let mut kinds = match call.peer {
        Peer::Kubernetes => {
            let mut kinds: Vec<_> = [401, 403, 404, 409, 410, 422, 429, 500, 503, 504].map(status).into();
            kinds.extend([(Failure::Reset, false), (Failure::Cut, false), (html.clone(), false)]);
            kinds
        }
        Peer::Linktree => {
            let mut kinds: Vec<_> = [400, 401, 403, 404, 405, 409, 418, 422, 429, 500, 502, 503].map(status).into();
            kinds.extend(["7", "Thu, 01 Jan 2026 00:05:00 GMT", "99999999999999999999", "-5", "soon"].map(retry_after));
            kinds.push((Failure::Status(503, Some("20".to_owned())), false));
            kinds.extend(
                ["dns error", "connection refused", "invalid peer certificate"]
                    .map(|why| (Failure::NotConnected(why), false)),
            );
            let says = |text| (Failure::Says("application/json", text), false);
            kinds.extend([
                says("{\"id\":7}"),
                says("[]"),
                says("null"),
                says("{\"data\":{}}"),
                says("{\"id\":\"\"}"),
                says(""),
            ]);
            kinds.extend([
                (html.clone(), false),
                (Failure::Reset, false),
                (Failure::Cut, false),
                (late.clone(), false),
            ]);
            kinds
        }
    };
    if call.what.starts_with("DELETE") {
        // These are final responses of Linktree: the subscription is gone, or DELETE is unsupported.
        kinds.retain(|(failure, _)| !matches!(failure, Failure::Says("application/json", _) | Failure::Status(405, _)));
    }
    if call.is_effect {
        let after = [Failure::Status(504, None), Failure::Status(500, None), Failure::Reset, Failure::Cut, html, late];
        kinds.extend(after.map(|failure| (failure, true)));
    }
    kinds
}

/// How often a call fails in a row. Nine failures to enable a subscription again would take days of exponential
/// backoff, as a few requests that Linktree rejects do, and a call that Linktree does not seem to support is retried
/// once a day.
fn in_a_row(call: &Call, failure: &Failure, nth: usize) -> usize {
    let most = match (call.peer, failure) {
        (Peer::Linktree, Failure::Status(404 | 405, _)) => return 1,
        (Peer::Linktree, Failure::Status(400 | 403 | 409 | 422, _)) => return [1, 2][nth % 2],
        _ if call.what == "PATCH /v1/webhooks/{id}" => 4,
        _ => 9,
    };
    [1, 4, most][nth % 3]
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { call, from, times, failure, applied } = self;
        let applied = if *applied { ", applied" } else { "" };
        write!(f, "{} from {from}, {times} times: {failure:?}{applied}", call.what)
    }
}

impl Disturbance for Fault {
    fn start_cluster(&self) -> Cluster {
        let cluster = Cluster::start(1, 1);
        let fault = self.clone();
        let mut made = 0;
        cluster.calls.judge(Box::new(move |call| {
            if *call != fault.call {
                return Fate::Passes;
            }
            made += 1;
            let fails = (fault.from..fault.from + fault.times).contains(&(made - 1));
            match (fails, fault.applied) {
                (false, _) => Fate::Passes,
                (true, false) => Fate::Fails(fault.failure.clone()),
                (true, true) => Fate::FailsAfter(fault.failure.clone()),
            }
        }));
        cluster
    }

    /// Per failure: status writes and Events with the error and the next retry, and the repeated write. For 429 also
    /// the connection's status writes: quota exhausted, the reservation for the retry, and the end of both.
    fn extra_writes(&self, _: &End) -> usize {
        let each = if matches!(self.failure, Failure::Status(429, _)) { 8 } else { 4 };
        8 + each * self.times
    }
}

/// The calls of an undisturbed run with their counts.
fn counted(calls: &[Call]) -> BTreeMap<String, (&Call, usize)> {
    let mut counted = BTreeMap::new();
    for call in calls {
        counted.entry(format!("{:?} {}", call.peer, call.what)).or_insert((call, 0)).1 += 1;
    }
    counted
}

/// Each call with each error: its first occurrences and a later one; once, in a row, and for long.
fn faults(undisturbed: &Undisturbed) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (n, (call, times)) in counted(&undisturbed.calls).into_values().enumerate() {
        for (m, (failure, applied)) in kinds(call).into_iter().enumerate() {
            for (from, times) in [(0, in_a_row(call, &failure, n + m)), (times / 2, 1)] {
                faults.push(Fault { call: call.clone(), from, times, failure: failure.clone(), applied });
            }
        }
    }
    faults
}

/// Cases that once failed.
const KEPT: &[&str] = &[
    // The order of conditions was treated as a change, and the status was written every 3 s.
    "bad_spec_between_good PATCH /v1/webhooks/{id} from 0, 4 times: Status(409, None)",
    // A webhook that was not found for a while was not reconciled again.
    "two_webhooks GET linktreewebhooks from 0, 9 times: Status(404, None)",
    // A subscription that still existed stayed, and another one was created.
    "recreated DELETE /v1/webhooks/{id} from 0, 1 times: Status(404, None)",
];

#[test]
fn calls_and_errors() {
    let mut row = Row::new("call x error kind", "calls_and_errors");
    cases::try_all(&mut row, count(3200, 12), KEPT, faults);
    row.finish();
}

/// A proxy may respond so, or an API server that is being restored. Otherwise only the connection's next list, minutes
/// later, would enqueue it.
#[test]
fn a_webhook_that_is_not_found_for_a_moment_is_reconciled_again_soon() {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        cluster.settled("links").await.unwrap();
        cluster.until_quiet().await.unwrap();
        let mut left = 3;
        cluster.calls.judge(Box::new(move |call| {
            if call.what != "GET linktreewebhooks" || left == 0 {
                return Fate::Passes;
            }
            left -= 1;
            Fate::Fails(Failure::Status(404, None))
        }));
        cluster.change("LinktreeWebhook", "links", &json!({"spec": {"events": ["link.deleted"]}})).unwrap();
        time::pass(60).await;
        let webhook = cluster.get("LinktreeWebhook", "links").unwrap();
        assert_eq!(
            webhook["status"]["observedGeneration"],
            webhook["metadata"]["generation"],
            "{}",
            cluster.describe()
        );
    });
}

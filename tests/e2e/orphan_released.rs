//! A namespace with token, connection and webhook is deleted while Linktree is down. The webhook's finalizer is removed
//! after the deletion deadline; the operator's log and the account's other connection report the orphaned subscription.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    call::{Call, kubectl},
    harness::Harness,
};

/// How long the deletion waits for Linktree, in seconds.
const DEADLINE: u64 = 15;
pub const SPEC: &str = "  subscription: {deletionDeadlineSeconds: 15}\n";
/// Additional seconds for the deletion of pods and other objects on a busy machine.
const SLACK: u64 = 90;
/// A second namespace with a connection to the same account.
const ELSEWHERE: &str = "orphan-released-elsewhere";

pub fn check(harness: &mut Harness) -> Result<()> {
    let _elsewhere = Elsewhere::connect(harness)?;
    let id = harness.field(".status.subscription.id")?;
    harness.simulator.post("/faults/api", &json!({"kind": "drop-before", "account": "acc_orphan-released"}))?;
    let began = Instant::now();
    harness.transcript.show(&kubectl(&format!("delete namespace {} --wait=false", harness.name)))?;
    let gone = format!("wait --for=delete namespace/{} --timeout={}s", harness.name, DEADLINE + SLACK);
    harness.transcript.show(&kubectl(&gone))?;
    let took = began.elapsed();
    harness.transcript.note(&format!("the namespace is gone after {:.1} s", took.as_secs_f32()));
    ensure!(
        took.as_secs() + 1 >= DEADLINE,
        "the namespace was gone after {took:?}, before the deadline of {DEADLINE} s, with Linktree down"
    );
    let log = kubectl("--namespace=linktree-system logs deployment/linktree-webhook-operator --tail=-1").output()?;
    let released = log.lines().find(|line| line.contains("OrphanReleased") && line.contains(&id));
    ensure!(released.is_some(), "the operator's log has no OrphanReleased line for {id}");

    harness.simulator.delete("/faults/api")?;
    for (field, value) in [("subscriptions.orphaned", "1"), ("unmanagedSubscriptions[0].id", &id)] {
        let counted = format!("wait ltconn/brand --for=jsonpath={{.status.{field}}}={value} --timeout=90s");
        harness.transcript.show(&elsewhere(&counted))?;
    }
    Ok(())
}

fn elsewhere(words: &str) -> Call {
    kubectl(&format!("--namespace={ELSEWHERE} {words}"))
}

/// The second namespace. Deleted on drop.
struct Elsewhere;

impl Elsewhere {
    fn connect(harness: &Harness) -> Result<Self> {
        let connected = Elsewhere;
        for file in ["1-token", "2-connection"] {
            let here = format!(": {}\n", harness.name);
            harness.apply(&harness.example(file)?.replace(&here, &format!(": {ELSEWHERE}\n")))?;
        }
        harness.transcript.show(&elsewhere("wait --for=condition=Ready ltconn/brand --timeout=60s"))?;
        Ok(connected)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        println!("{}", kubectl(&format!("delete namespace {ELSEWHERE} --wait=false")).output_or_error());
    }
}

//! A namespace is deleted while Linktree is down: token, connection and webhook all at once. It ends when the webhook's
//! deadline is over, and what is left at Linktree is told where somebody is left to read it.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    call::{Call, kubectl},
    place::Place,
};

/// So long a deletion waits for Linktree.
const DEADLINE: u64 = 15;
pub const SPEC: &str = "  subscription: {deletionDeadlineSeconds: 15}\n";
/// What ending pods and deleting everything else may take besides, on a busy machine.
const SLACK: u64 = 90;
/// A namespace with another connection to the account.
const ELSEWHERE: &str = "abandoned-elsewhere";

pub fn check(place: &mut Place) -> Result<()> {
    let _elsewhere = Elsewhere::connect(place)?;
    let id = place.field(".status.subscription.id")?;
    place.simulator.post("/faults/api", &json!({"kind": "drop-before", "account": "acc_abandoned"}))?;
    let began = Instant::now();
    place.narrator.show(&kubectl(&format!("delete namespace {} --wait=false", place.name)))?;
    let gone = format!("wait --for=delete namespace/{} --timeout={}s", place.name, DEADLINE + SLACK);
    place.narrator.show(&kubectl(&gone))?;
    let took = began.elapsed();
    place.narrator.say(&format!("the namespace is gone after {:.1} s", took.as_secs_f32()));
    ensure!(took.as_secs() + 1 >= DEADLINE, "it went after {took:?}, before the deadline, and with Linktree down");
    let log = kubectl("--namespace=linktree-system logs deployment/linktree-webhook-operator --tail=-1").output()?;
    let told = log.lines().find(|line| line.contains("OrphanReleased") && line.contains(&id));
    ensure!(told.is_some(), "the operator's log does not say that {id} may be left");

    place.simulator.delete("/faults/api")?;
    for (field, value) in [("subscriptions.orphaned", "1"), ("unmanagedSubscriptions[0].id", &id)] {
        let counted = format!("wait ltconn/brand --for=jsonpath={{.status.{field}}}={value} --timeout=90s");
        place.narrator.show(&elsewhere(&counted))?;
    }
    Ok(())
}

fn elsewhere(words: &str) -> Call {
    kubectl(&format!("--namespace={ELSEWHERE} {words}"))
}

/// Deleted when it is dropped.
struct Elsewhere;

impl Elsewhere {
    fn connect(place: &Place) -> Result<Self> {
        let there = Elsewhere;
        for file in ["1-token", "2-connection"] {
            let here = format!(": {}\n", place.name);
            place.apply(&place.example(file)?.replace(&here, &format!(": {ELSEWHERE}\n")))?;
        }
        place.narrator.show(&elsewhere("wait --for=condition=Ready ltconn/brand --timeout=60s"))?;
        Ok(there)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        println!("{}", kubectl(&format!("delete namespace {ELSEWHERE} --wait=false")).anything());
    }
}

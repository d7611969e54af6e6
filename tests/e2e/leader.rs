//! The chart runs two operators, and the one that leads is lost with its pod: the other goes on within the time of goal
//! P10.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{
    call::{Call, helm, kubectl},
    node,
    place::Place,
    wait,
};

/// Its subscription stays: of what the lost leader had asked of Linktree the next one knows too little to delete at once
/// (docs/adr/0003), and that is not what is tried here.
pub const SPEC: &str = "  subscription: {deletionPolicy: Retain}\n";
const GOAL: Duration = Duration::from_secs(16);
/// How much longer it may take here: a machine that runs a cluster and builds besides is no place to measure.
const BUSY: u32 = 3;

pub fn check(place: &mut Place) -> Result<()> {
    let _one_again = Two::run(place)?;
    let leader = holder()?;
    let container = "--output=jsonpath={.status.containerStatuses[0].containerID}";
    let container = kubectl(&format!("--namespace=linktree-system get pod {leader} {container}")).output()?;
    let lost = Instant::now();
    // With no time for a last word: asked to end, it would hand over at once.
    node::ctr(&format!("tasks kill --signal SIGKILL {}", container.trim_start_matches("containerd://")))?;
    place
        .narrator
        .show(&kubectl(&format!("--namespace=linktree-system delete pod {leader} --grace-period=0 --force")))?;
    let change = r#"{"spec":{"signing":{"timestampToleranceSeconds":200}}}"#;
    place.narrator.show(&place.kubectl("patch ltw links-to-cms --type=merge --patch").and(change))?;
    let next = wait::until("another leads", 90, || {
        let holder = holder()?;
        Ok((!holder.is_empty() && holder != leader).then_some(holder))
    })?;
    let handled = "wait --for=jsonpath={.status.observedGeneration}=2 ltw/links-to-cms --timeout=90s";
    place.narrator.show(&place.kubectl(handled))?;
    let took = lost.elapsed();
    place.narrator.say(&format!("{leader} led, then {next}; the next reconcile after {:.1} s", took.as_secs_f32()));
    ensure!(took <= BUSY * GOAL, "the next reconcile was {took:?} after the leader's end");

    place.become_ready()?;
    ensure!(place.subscriptions()?.len() == 1, "there should be one: {:?}", place.subscriptions()?);
    let event = place.new_link("Under a new leader")?;
    place.sink.wait_for(&[event], 30).map(drop)
}

/// Who has the lease: the name of a pod.
fn holder() -> Result<String> {
    kubectl("--namespace=linktree-system get lease linktree-webhook-operator --output=jsonpath={.spec.holderIdentity}")
        .output()
}

/// Two operators; one again when this is dropped.
struct Two;

impl Two {
    fn run(place: &Place) -> Result<Self> {
        let two = Two;
        place.narrator.show(&replicas(2))?;
        Ok(two)
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        println!("{}", replicas(1).anything());
    }
}

fn replicas(count: u8) -> Call {
    helm(&format!(
        "upgrade linktree-webhook-operator charts/linktree-webhook-operator --namespace linktree-system --reuse-values \
         --set replicas={count} --wait --timeout 120s"
    ))
}

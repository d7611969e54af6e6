//! `linktree-operator operator` outside the cluster, with a kubeconfig: it takes over from the operator in the cluster,
//! keeps the subscription in sync and deletes it.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{
    call::{Call, kubectl},
    harness::Harness,
    port_forward::PortForward,
    wait,
};

pub fn check(harness: &mut Harness) -> Result<()> {
    let _scaled_down = ScaledDown::new(harness)?;
    // Cluster DNS names do not resolve here.
    let linktree = PortForward::start("--namespace=linktree-system service/linktree-simulator :80")?;
    let patch = format!(r#"{{"spec":{{"baseURL":"http://127.0.0.1:{}"}}}}"#, linktree.port());
    harness.transcript.show(&harness.kubectl("patch ltconn brand --type=merge --patch").and(patch))?;
    let events = r#"{"spec":{"events":["link.created"]}}"#;
    harness.transcript.show(&harness.kubectl("patch ltw links-to-cms --type=merge --patch").and(events))?;

    // The operator in the cluster manages these objects: hand them over to the one outside.
    let hand_over = "webhooks.linktree-operator.dev/operator=default/linktree-webhook-operator";
    harness.transcript.show(&harness.kubectl("annotate ltconn,ltw --all").and(hand_over))?;
    let mut operator = LocalOperator::start(&harness.name)?;
    harness
        .transcript
        .show(&harness.kubectl("wait --for=jsonpath={.status.observedGeneration}=2 ltconn/brand --timeout=60s"))?;
    harness.transcript.show(&harness.kubectl("wait --for=condition=Ready ltconn/brand --timeout=60s"))?;
    let path = format!(
        "/subscriptions/{}",
        harness.subscriptions()?.first().context("Linktree has no subscription for the webhook")?.id
    );
    wait::until("the subscription has the new events", 60, || {
        let state = harness.simulator.get("/state")?;
        let all = state["subscriptions"].as_array().into_iter().flatten();
        let mut ours = all.filter(|it| it["id"].as_str().is_some_and(|id| path.ends_with(id)));
        Ok(ours.any(|it| it["events"] == serde_json::json!(["link.created"])).then_some(()))
    })?;
    harness.transcript.show(&harness.kubectl("delete ltw links-to-cms --timeout=60s"))?;
    ensure!(harness.subscriptions()?.is_empty(), "the subscription still exists: {:?}", harness.subscriptions()?);
    operator.stop()
}

/// The operator in the cluster, scaled to zero. Scaled up on drop.
struct ScaledDown;

impl ScaledDown {
    fn new(harness: &Harness) -> Result<Self> {
        harness.transcript.show(&scale(0))?;
        let scaled_down = ScaledDown;
        let operator = "--selector=app.kubernetes.io/name=linktree-webhook-operator --timeout=60s";
        harness.transcript.show(&kubectl(&format!("--namespace=linktree-system wait --for=delete pod {operator}")))?;
        Ok(scaled_down)
    }
}

impl Drop for ScaledDown {
    fn drop(&mut self) {
        println!("{}", scale(1).output_or_error());
    }
}

fn scale(replicas: u8) -> Call {
    kubectl(&format!("--namespace=linktree-system scale deployment/linktree-webhook-operator --replicas={replicas}"))
}

/// The binary of this build as a local process. Killed on drop.
struct LocalOperator(Child);

impl LocalOperator {
    fn start(namespace: &str) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linktree-operator"));
        command.args(["operator", "--receiver-image=localhost/linktree-webhook-operator:dev"]);
        command.args(["--metrics-address=127.0.0.1:0", "--watch-namespace", namespace]).stdin(Stdio::null());
        Ok(LocalOperator(command.spawn()?))
    }

    /// Sends SIGTERM, as a service manager does; the process must exit successfully within 5 s.
    fn stop(&mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let status = wait::until("the operator exits after SIGTERM", 5, || Ok(self.0.try_wait()?))?;
        ensure!(status.success(), "the operator exited with {status}");
        Ok(())
    }
}

impl Drop for LocalOperator {
    fn drop(&mut self) {
        // After `stop` it has exited already, and both calls fail without harm.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

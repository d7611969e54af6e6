//! `linktree-operator operator` on a person's own machine, with a kubeconfig: it takes over from the one in the cluster,
//! keeps the subscription true and deletes it.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{
    call::{Call, kubectl},
    forward::Forward,
    place::Place,
    wait,
};

pub fn check(place: &mut Place) -> Result<()> {
    let _stopped = Stopped::new(place)?;
    // Names of the cluster do not resolve here.
    let linktree = Forward::start("--namespace=linktree-system service/linktree-simulator :80")?;
    let patch = format!(r#"{{"spec":{{"baseURL":"http://127.0.0.1:{}"}}}}"#, linktree.port());
    place.narrator.show(&place.kubectl("patch ltconn brand --type=merge --patch").and(patch))?;
    let events = r#"{"spec":{"events":["link.created"]}}"#;
    place.narrator.show(&place.kubectl("patch ltw links-to-cms --type=merge --patch").and(events))?;

    let mut operator = Outside::start(&place.name)?;
    place
        .narrator
        .show(&place.kubectl("wait --for=jsonpath={.status.observedGeneration}=2 ltconn/brand --timeout=60s"))?;
    place.narrator.show(&place.kubectl("wait --for=condition=Ready ltconn/brand --timeout=60s"))?;
    let path = format!("/subscriptions/{}", place.subscriptions()?.first().context("there is one")?.id);
    wait::until("the subscription has the new events", 60, || {
        let state = place.simulator.get("/state")?;
        let all = state["subscriptions"].as_array().into_iter().flatten();
        let mut ours = all.filter(|it| it["id"].as_str().is_some_and(|id| path.ends_with(id)));
        Ok(ours.any(|it| it["events"] == serde_json::json!(["link.created"])).then_some(()))
    })?;
    place.narrator.show(&place.kubectl("delete ltw links-to-cms --timeout=60s"))?;
    ensure!(place.subscriptions()?.is_empty(), "the subscription is still there: {:?}", place.subscriptions()?);
    operator.stop()
}

/// The operator in the cluster does nothing; it does again when this is dropped.
struct Stopped;

impl Stopped {
    fn new(place: &Place) -> Result<Self> {
        place.narrator.show(&scale(0))?;
        let stopped = Stopped;
        let operator = "--selector=app.kubernetes.io/name=linktree-webhook-operator --timeout=60s";
        place.narrator.show(&kubectl(&format!("--namespace=linktree-system wait --for=delete pod {operator}")))?;
        Ok(stopped)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        println!("{}", scale(1).anything());
    }
}

fn scale(replicas: u8) -> Call {
    kubectl(&format!("--namespace=linktree-system scale deployment/linktree-webhook-operator --replicas={replicas}"))
}

/// The binary of this build, as a process here.
struct Outside(Child);

impl Outside {
    fn start(namespace: &str) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linktree-operator"));
        command.args(["operator", "--receiver-image=localhost/linktree-webhook-operator:dev"]);
        command.args(["--metrics-address=127.0.0.1:0", "--watch-namespace", namespace]).stdin(Stdio::null());
        Ok(Outside(command.spawn()?))
    }

    /// Asks it to end, as Ctrl-C or a service manager does; it must do so in time and without complaint.
    fn stop(&mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let status = wait::until("it ends when asked to", 5, || Ok(self.0.try_wait()?))?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // After `stop` there is nothing left to do, and an error says only that.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! `make demo`: the life cycle of a subscription on a real cluster, step by step with evidence. It uses the current
//! kubectl context and needs kubectl, helm and both images there. KEEP=1 keeps everything for a closer look. Without
//! it, the demo uninstalls everything it installed into a cluster that the launcher did not start.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the demo prints to a terminal")]
#![allow(clippy::disallowed_methods, reason = "the demo measures durations and waits with deadlines")]
#![allow(unreachable_pub, reason = "no item of a binary is reachable from outside")]

use std::{env, process::ExitCode, time::Instant};

use anyhow::{Result, ensure};

use self::{
    call::{helm, kubectl},
    scenario::Scenario,
    support::{certificate_authority, nginx},
    transcript::Transcript,
};

mod call;
mod dump;
mod edge;
mod port_forward;
mod scenario;
mod simulator;
mod sink;
mod transcript;
mod wait;

/// The parts of `tests/support` that this binary uses.
#[path = "../support"]
mod support {
    pub mod certificate_authority;
    pub mod nginx;
}

const INSTALL_FLAGS: &str = "--set image.tag=dev --set simulator.enabled=true";

fn main() -> ExitCode {
    let transcript = Transcript::new();
    let began = Instant::now();
    match run(transcript) {
        Ok(()) => {
            transcript.note(&format!("\n   The demo took {} s.", began.elapsed().as_secs()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            transcript.failed(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(transcript: Transcript) -> Result<()> {
    let ours = env::var_os("LINKTREE_CLUSTER_DIR").is_some();
    let keep = env::var_os("KEEP").is_some_and(|keep| !keep.is_empty());
    if !ours {
        ensure_not_installed()?;
    }
    let mut scenario = Scenario::new(transcript, INSTALL_FLAGS)?;
    let result = scenario.run();
    dump::if_failed(&result, transcript, scenario::NAMESPACE, &mut scenario.simulator);
    if result.is_ok() && keep {
        keep_a_webhook(transcript)?;
    }
    // Uncordons the nodes before anything else.
    drop(scenario);
    if !ours && !keep {
        uninstall(transcript)?;
    }
    result
}

/// Fails if the objects exist already, since the demo deletes them at the end.
fn ensure_not_installed() -> Result<()> {
    let ours =
        ["namespace/linktree-system", "namespace/marketing", "crd/linktreewebhooks.webhooks.linktree-operator.dev"];
    for object in ours {
        let there = kubectl("get --ignore-not-found --output=name").and(object).output()?;
        ensure!(
            there.is_empty(),
            "{object} exists already, and the demo would delete it at the end: use another cluster, or delete it first"
        );
    }
    Ok(())
}

/// Applies the webhook once more, since the scenario ends with its deletion.
fn keep_a_webhook(transcript: Transcript) -> Result<()> {
    println!("\n── Try it yourself");
    transcript.show(&kubectl("apply --filename examples/quickstart"))?;
    transcript.show(&kubectl("--namespace=marketing wait --for=condition=Ready ltw/links-to-cms --timeout=120s"))?;
    let path = env::var("PATH").unwrap_or_default();
    let tools = path.split(':').next().unwrap_or_default();
    if let (Ok(kubeconfig), Ok(cluster)) = (env::var("KUBECONFIG"), env::var("LINKTREE_CLUSTER_DIR")) {
        transcript.note(&format!("export KUBECONFIG={kubeconfig} PATH={tools}:$PATH"));
        let name = cluster.rsplit('/').next().unwrap_or_default();
        transcript.note(&format!("make cluster-down NAME={name}     # stops it"));
    }
    for line in [
        "kubectl get ltw,ltconn --all-namespaces --output=wide",
        "kubectl --namespace=marketing describe ltw links-to-cms",
        "kubectl explain linktreewebhook.spec",
        "kubectl --namespace=marketing logs --follow deployment/event-sink",
        "kubectl --namespace=linktree-system port-forward service/linktree-simulator 8082",
        "curl localhost:8082/          # the control API of the simulated Linktree",
        "curl localhost:8082/links --json '{\"title\": \"Mine\", \"url\": \"https://example.com/\"}'",
    ] {
        transcript.note(line);
    }
    Ok(())
}

fn uninstall(transcript: Transcript) -> Result<()> {
    println!("\n── Uninstall");
    // The webhook first: only a running operator can delete its subscription at Linktree.
    transcript.show(&kubectl("delete namespace marketing --ignore-not-found --timeout=120s"))?;
    transcript.show(&helm("uninstall linktree-webhook-operator --namespace linktree-system --ignore-not-found"))?;
    transcript.show(&kubectl("delete namespace linktree-system --ignore-not-found --timeout=120s"))?;
    transcript.show(&kubectl("delete --filename crds --ignore-not-found --timeout=60s"))?;
    Ok(())
}

//! `make demo`: the whole life of a subscription on a real cluster, told step by step with evidence. It uses the current
//! kubectl context, and needs kubectl, helm and the two images there. KEEP=1 leaves everything for looking around.
//! Without it, what was installed into a cluster that is not ours is taken away again.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it speaks to a person at a terminal")]
#![allow(clippy::disallowed_methods, reason = "it tells how long things took, and waits for them with deadlines")]
#![allow(unreachable_pub, reason = "nothing of a program is reachable from outside")]

use std::{env, process::ExitCode, time::Instant};

use anyhow::{Result, ensure};

use self::{
    call::{helm, kubectl},
    narrator::Narrator,
    story::Story,
};

#[path = "../edge/authority.rs"]
mod authority;
mod call;
mod dump;
mod edge;
mod forward;
mod narrator;
#[path = "../edge/nginx.rs"]
mod nginx;
mod simulator;
mod sink;
mod story;
mod wait;

const INSTALL_FLAGS: &str = "--set image.tag=dev --set simulator.enabled=true";

fn main() -> ExitCode {
    let narrator = Narrator::new();
    let began = Instant::now();
    match tell(narrator) {
        Ok(()) => {
            narrator.say(&format!("\n   All of it took {} s.", began.elapsed().as_secs()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            narrator.failed(&error);
            ExitCode::FAILURE
        }
    }
}

fn tell(narrator: Narrator) -> Result<()> {
    let ours = env::var_os("LINKTREE_CLUSTER_DIR").is_some();
    let keep = env::var_os("KEEP").is_some_and(|keep| !keep.is_empty());
    if !ours {
        nothing_of_ours_is_there()?;
    }
    let mut story = Story::new(narrator, INSTALL_FLAGS)?;
    let told = story.tell();
    dump::if_failed(&told, narrator, story::NAMESPACE, &mut story.simulator);
    if told.is_ok() && keep {
        leave_something_to_look_at(narrator)?;
    }
    // Nodes must take pods again before anything else is done.
    drop(story);
    if !ours && !keep {
        uninstall(narrator)?;
    }
    told
}

/// What the demo brings it takes away again, so it must not find it there.
fn nothing_of_ours_is_there() -> Result<()> {
    let ours =
        ["namespace/linktree-system", "namespace/marketing", "crd/linktreewebhooks.webhooks.linktree-operator.dev"];
    for object in ours {
        let there = kubectl("get --ignore-not-found --output=name").and(object).output()?;
        ensure!(there.is_empty(), "{object} is in this cluster already: the demo would delete it in the end");
    }
    Ok(())
}

/// The story ends with everything deleted, so the webhook is applied once more.
fn leave_something_to_look_at(narrator: Narrator) -> Result<()> {
    println!("\n── To look around");
    narrator.show(&kubectl("apply --filename examples/quickstart"))?;
    narrator.show(&kubectl("--namespace=marketing wait --for=condition=Ready ltw/links-to-cms --timeout=120s"))?;
    let path = env::var("PATH").unwrap_or_default();
    let tools = path.split(':').next().unwrap_or_default();
    if let (Ok(kubeconfig), Ok(cluster)) = (env::var("KUBECONFIG"), env::var("LINKTREE_CLUSTER_DIR")) {
        narrator.say(&format!("export KUBECONFIG={kubeconfig} PATH={tools}:$PATH"));
        let name = cluster.rsplit('/').next().unwrap_or_default();
        narrator.say(&format!("make cluster-down NAME={name}     # stops it"));
    }
    for line in [
        "kubectl get ltw,ltconn --all-namespaces --output=wide",
        "kubectl --namespace=marketing describe ltw links-to-cms",
        "kubectl explain linktreewebhook.spec",
        "kubectl --namespace=marketing logs --follow deployment/event-sink",
        "kubectl --namespace=linktree-system port-forward service/linktree-simulator 8082",
        "curl localhost:8082/          # what can be done to the simulated Linktree",
        "curl localhost:8082/links --json '{\"title\": \"Mine\", \"url\": \"https://example.com/\"}'",
    ] {
        narrator.say(line);
    }
    Ok(())
}

fn uninstall(narrator: Narrator) -> Result<()> {
    println!("\n── What was installed is taken away again");
    // The webhook first: only a running operator can take its subscription back from Linktree.
    narrator.show(&kubectl("delete namespace marketing --ignore-not-found --timeout=120s"))?;
    narrator.show(&helm("uninstall linktree-webhook-operator --namespace linktree-system --ignore-not-found"))?;
    narrator.show(&kubectl("delete namespace linktree-system --ignore-not-found --timeout=120s"))?;
    narrator.show(&kubectl("delete --filename crds --ignore-not-found --timeout=60s"))?;
    Ok(())
}

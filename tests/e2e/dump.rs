//! Everything one would look at after something went wrong, printed before the cluster is gone. No Secrets.

use anyhow::Result;

use crate::{
    call::{helm, kubectl},
    edge,
    narrator::Narrator,
    simulator::Simulator,
};

const LOOKS: [&str; 8] = [
    "get nodes,pods,persistentvolumeclaims,statefulsets,deployments,services --all-namespaces --output=wide",
    "get ltw,ltconn --all-namespaces --output=yaml",
    "get events --all-namespaces --sort-by=.metadata.creationTimestamp",
    "--namespace=linktree-system logs deployment/linktree-webhook-operator --previous --tail=40",
    "--namespace=linktree-system logs deployment/linktree-webhook-operator --tail=150",
    "--namespace=linktree-system logs deployment/linktree-simulator --tail=60",
    "logs --selector=app.kubernetes.io/component=receiver --tail=100 --prefix",
    "logs --selector=app=event-sink --tail=40 --prefix",
];

/// Lines that are shown of one look.
const LINES_MAX: usize = 400;

/// Prints the error and then everything, if there is an error. What cannot be had is said in its place. `namespace` is
/// the one that the webhook is in.
pub fn if_failed(result: &Result<()>, narrator: Narrator, namespace: &str, simulator: &mut Simulator) {
    let Err(error) = result else { return };
    narrator.failed(error);
    for look in LOOKS {
        let call = if look.starts_with("logs") { format!("--namespace={namespace} {look}") } else { look.to_owned() };
        section(narrator, &format!("kubectl {call}"), &kubectl(&call).anything());
    }
    for (name, log) in edge::logs() {
        section(narrator, &format!("what nginx complained of: {name}"), &log);
    }
    let releases = helm("list --all-namespaces");
    section(narrator, &releases.to_string(), &releases.anything());
    for path in ["/state", "/calls"] {
        let answer = simulator.get(path).map_or_else(|error| format!("{error:#}"), |it| format!("{it:#}"));
        section(narrator, &format!("the simulator's {path}"), &answer);
    }
}

/// A section with the end of a text, where the newest is.
fn section(narrator: Narrator, title: &str, text: &str) {
    narrator.section(title);
    let lines: Vec<_> = text.trim_end().lines().collect();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    if left_out > 0 {
        println!("… {left_out} lines before");
    }
    lines.iter().skip(left_out).for_each(|line| println!("{line}"));
}

//! State dump after a failure, printed before the cluster is deleted. It contains no Secrets.

use anyhow::Result;

use crate::{
    call::{helm, kubectl},
    edge,
    simulator::Simulator,
    transcript::Transcript,
};

const COMMANDS: [&str; 8] = [
    "get nodes,pods,persistentvolumeclaims,statefulsets,deployments,services --all-namespaces --output=wide",
    "get ltw,ltconn --all-namespaces --output=yaml",
    "get events --all-namespaces --sort-by=.metadata.creationTimestamp",
    "--namespace=linktree-system logs deployment/linktree-webhook-operator --previous --tail=40",
    "--namespace=linktree-system logs deployment/linktree-webhook-operator --tail=150",
    "--namespace=linktree-system logs deployment/linktree-simulator --tail=60",
    "logs --selector=app.kubernetes.io/component=receiver --tail=100 --prefix",
    "logs --selector=app=event-sink --tail=40 --prefix",
];

/// Lines shown of one command's output.
const LINES_MAX: usize = 400;

/// Prints the error and the state, if there is an error. A command that fails prints its error instead. `namespace` is
/// the webhook's.
pub fn if_failed(result: &Result<()>, transcript: Transcript, namespace: &str, simulator: &mut Simulator) {
    let Err(error) = result else { return };
    transcript.failed(error);
    for words in COMMANDS {
        let call =
            if words.starts_with("logs") { format!("--namespace={namespace} {words}") } else { words.to_owned() };
        section(transcript, &format!("kubectl {call}"), &kubectl(&call).output_or_error());
    }
    for (name, log) in edge::logs() {
        section(transcript, &format!("error log of nginx: {name}"), &log);
    }
    let releases = helm("list --all-namespaces");
    section(transcript, &releases.to_string(), &releases.output_or_error());
    for path in ["/state", "/calls"] {
        let answer = simulator.get(path).map_or_else(|error| format!("{error:#}"), |it| format!("{it:#}"));
        section(transcript, &format!("the simulator's {path}"), &answer);
    }
}

/// Prints a section with the end of a text, which is the newest part.
fn section(transcript: Transcript, title: &str, text: &str) {
    transcript.section(title);
    let lines: Vec<_> = text.trim_end().lines().collect();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    if left_out > 0 {
        println!("… {left_out} earlier lines");
    }
    lines.iter().skip(left_out).for_each(|line| println!("{line}"));
}

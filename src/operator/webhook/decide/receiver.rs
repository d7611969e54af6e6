//! Whether the receiver's pod is there and keeps deliveries.

use crate::{
    api::condition::Reason,
    operator::{
        kubernetes::conditions::{Finding, Status},
        webhook::{
            observed::{Observed, Pod},
            plan::Step,
            spec::Spec,
        },
    },
    route::status::{Certificate, JournalHealth},
};

pub(super) fn decide(spec: &Spec, observed: &Observed) -> Finding {
    let receiver = &observed.receiver;
    let Some(pod) = &receiver.pod else { return progressing("the receiver's pod is being created") };
    if pod.terminating {
        return progressing(format!("pod {} is being replaced", pod.name));
    }
    if let Some(problem) = &pod.unschedulable {
        return unschedulable(pod, problem);
    }
    if let Some(problem) = &pod.waiting {
        return progressing(format!("pod {} waits: {problem}", pod.name));
    }
    match receiver.status.as_ref().map(|status| &status.journal) {
        Some(JournalHealth::Full) => storage(
            "the journal is full: deliveries are answered 503 until sinks take events or retention ends".to_owned(),
        ),
        Some(JournalHealth::Failed { problem }) => storage(format!("the journal cannot be used: {problem}")),
        Some(JournalHealth::Healthy) => {
            kept(spec, pod, receiver.status.as_ref().and_then(|it| it.certificate.as_ref()))
        }
        None if pod.ready => Finding::new(
            Status::Unknown,
            Reason::StatusUnavailable,
            format!("pod {} is ready, but its status on port 9090 cannot be read from the operator", pod.name),
        ),
        None => progressing(format!(
            "pod {name} is not ready: it is starting, or has ended (kubectl describe pod {name})",
            name = pod.name
        )),
    }
}

/// Deliveries can be kept; whether they can come in.
fn kept(spec: &Spec, pod: &Pod, certificate: Option<&Certificate>) -> Finding {
    if let (Some(secret), Some(Certificate { serving, problem: Some(problem), .. })) = (spec.tls_secret(), certificate)
    {
        let (of, instead) = (format!("Secret {secret}: {problem}"), "; the one before it is served");
        let message = if *serving { of + instead } else { of };
        return Finding::new(*serving, Reason::CertificateUnusable, message);
    }
    if pod.ready {
        Finding::new(true, Reason::Available, format!("pod {} keeps deliveries", pod.name))
    } else {
        progressing(format!("pod {} is not ready yet", pod.name))
    }
}

/// A pod that does not yet have the newest route, or cannot be asked (its admin token may be an older one), is pointed at
/// it once.
pub(super) fn refresh_pod_mount(observed: &Observed) -> Option<Step> {
    let pod = observed.receiver.pod.as_ref().filter(|pod| !pod.terminating)?;
    let wanted = &observed.route_digest;
    let has_it = observed.receiver.status.as_ref().map_or(!pod.ready, |status| status.route_digest == *wanted);
    let pointed = pod.route_digest.as_ref() == Some(wanted);
    (!has_it && !pointed).then(|| Step::RefreshPodMount { pod: pod.name.clone() })
}

fn unschedulable(pod: &Pod, problem: &str) -> Finding {
    let message = format!("no node takes pod {}: {problem}", pod.name);
    // The scheduler says in one sentence what it lacks; a volume has another remedy than a node.
    if problem.to_ascii_lowercase().contains("volume") {
        storage(message)
    } else {
        Finding::new(false, Reason::Unschedulable, message)
    }
}

fn progressing(message: impl Into<String>) -> Finding {
    Finding::new(false, Reason::Progressing, message)
}

fn storage(message: String) -> Finding {
    Finding::new(false, Reason::StorageUnavailable, message)
}

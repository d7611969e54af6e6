//! The finding for `ReceiverAvailable`: whether the receiver's pod runs and can store deliveries.

use crate::{
    api::condition::Reason,
    operator::{
        kubernetes::{
            apply::standing::Standing,
            conditions::{Finding, Status},
        },
        webhook::{
            observed::{Child, Observed, Pod},
            plan::Step,
            spec::Spec,
        },
    },
    route::status::{Certificate, JournalHealth},
};

pub(super) fn decide(spec: &Spec, observed: &Observed) -> Finding {
    let receiver = &observed.receiver;
    let Some(pod) = &receiver.pod else {
        return match &receiver.refused {
            Some(problem) => refused(problem),
            None => progressing("the receiver's pod is being created"),
        };
    };
    if pod.terminating {
        return progressing(format!("pod {} is being replaced", pod.name));
    }
    if let Some(problem) = &pod.unschedulable {
        return unschedulable(pod, problem);
    }
    if let Some(problem) = &pod.waiting {
        return progressing(format!("pod {} is waiting: {problem}", pod.name));
    }
    match receiver.status.as_ref().map(|status| &status.journal) {
        Some(JournalHealth::Full) => storage(
            "the journal is full: deliveries are answered 503 until sinks accept events or events expire".to_owned(),
        ),
        Some(JournalHealth::Failed { problem }) => storage(format!("the journal cannot be used: {problem}")),
        Some(JournalHealth::Healthy) => {
            available(spec, pod, receiver.status.as_ref().and_then(|it| it.certificate.as_ref()))
        }
        None if pod.ready => Finding::new(
            Status::Unknown,
            Reason::StatusUnavailable,
            format!(
                "pod {} is ready, but its status cannot be read: allow the operator to connect to its port 9090",
                pod.name
            ),
        ),
        None => progressing(format!(
            "pod {name} is not ready: it is starting or has exited (kubectl describe pod {name})",
            name = pod.name
        )),
    }
}

/// The finding for a receiver with a healthy journal: whether its TLS certificate is usable and its pod ready.
fn available(spec: &Spec, pod: &Pod, certificate: Option<&Certificate>) -> Finding {
    if let (Some(secret), Some(Certificate { serving, problem: Some(problem), .. })) = (spec.tls_secret(), certificate)
    {
        let consequence = if *serving { "; the previous one is served" } else { "" };
        let message = format!("the certificate in Secret {secret} is unusable: {problem}{consequence}");
        return Finding::new(*serving, Reason::CertificateUnusable, message);
    }
    if pod.ready {
        Finding::new(true, Reason::Available, format!("pod {} stores deliveries", pod.name))
    } else {
        progressing(format!("pod {} is not ready yet", pod.name))
    }
}

/// The step that makes the kubelet refresh the pod's mounted route Secret, once per route. It is needed if the pod
/// reports an older route, or if the status of a ready pod cannot be read, as it may have an older admin token.
pub(super) fn refresh_pod_mount(observed: &Observed) -> Option<Step> {
    // The kubelet cannot mount a route from a Secret that is not ours.
    let is_ours = observed.children.get(&Child::RouteSecret).is_none_or(Standing::is_ours);
    let pod = observed.receiver.pod.as_ref().filter(|pod| is_ours && !pod.terminating)?;
    let desired = &observed.route_digest;
    let is_current = observed.receiver.status.as_ref().map_or(!pod.ready, |status| status.route_digest == *desired);
    let is_refreshed = pod.route_digest.as_ref() == Some(desired);
    (!is_current && !is_refreshed).then(|| Step::RefreshPodMount { pod: pod.name.clone() })
}

/// Remedies for a pod that the API server refuses, by words of its message.
const REMEDIES: [(&str, &str); 5] = [
    ("exceeded quota", "raise the ResourceQuota, or free a part of it"),
    ("failed quota", "give the namespace a LimitRange with default requests and limits, or change the ResourceQuota"),
    ("usage per", "change the LimitRange so that it allows the receiver's requests and limits"),
    ("violates PodSecurity", "set the namespace's level pod-security.kubernetes.io/enforce to restricted or less"),
    ("security context constraint", "allow ServiceAccount NAME-receiver a constraint that permits the receiver's uid"),
];

fn refused(problem: &str) -> Finding {
    let remedy = REMEDIES.iter().find(|(words, _)| problem.contains(words));
    let remedy = remedy.map_or("change what refuses it, as the message says", |(_, remedy)| remedy);
    let message = format!(
        "the receiver's pod cannot be created: {problem}: {remedy}; Kubernetes tries again within 17 minutes, and at \
         once after kubectl rollout restart"
    );
    Finding::new(false, Reason::PodRefused, message)
}

fn unschedulable(pod: &Pod, problem: &str) -> Finding {
    let message = format!("pod {} cannot be scheduled: {problem}", pod.name);
    // Only the scheduler's message shows that a volume is the problem; its condition reason and remedy differ.
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

//! The kinds that this API server serves.

/// A kind and its list types.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
    /// Whether its status is a subresource.
    pub has_status: bool,
    /// Whether changes of its spec increase `metadata.generation`.
    pub has_generation: bool,
    /// Lists merged item by item, of type map or set: the path and the keys of an item (none for a set).
    pub lists: &'static [(&'static str, &'static [&'static str])],
}

const POD: &[(&str, &[&str])] = &[
    ("spec.containers", &["name"]),
    ("spec.containers.ports", &["containerPort", "protocol"]),
    ("spec.containers.volumeMounts", &["mountPath"]),
    ("spec.containers.env", &["name"]),
    ("spec.volumes", &["name"]),
];
const STATEFUL_SET: &[(&str, &[&str])] = &[
    ("spec.template.spec.containers", &["name"]),
    ("spec.template.spec.containers.ports", &["containerPort", "protocol"]),
    ("spec.template.spec.containers.volumeMounts", &["mountPath"]),
    ("spec.template.spec.containers.env", &["name"]),
    ("spec.template.spec.volumes", &["name"]),
];
const SERVICE: &[(&str, &[&str])] = &[("spec.ports", &["port", "protocol"])];
const WEBHOOK: &[(&str, &[&str])] = &[
    ("spec.events", &[]),
    ("spec.receiver.redactFields", &[]),
    ("spec.signing.keys", &["name"]),
    ("spec.sinks", &["name"]),
    ("spec.sinks.events", &[]),
    ("status.conditions", &["type"]),
    ("status.sinks", &["name"]),
    ("status.subscription.drift", &["field"]),
];
const CONNECTION: &[(&str, &[&str])] = &[("status.conditions", &["type"]), ("status.unmanaged", &["id"])];
const OURS: &str = "webhooks.linktree-operator.dev";

macro_rules! kinds {
    ($($group:expr, $version:expr, $plural:expr, $kind:expr, $status:expr, $generation:expr, $lists:expr;)*) => {
        pub static KINDS: &[Kind] = &[$(Kind {
            group: $group, version: $version, plural: $plural, kind: $kind, has_status: $status,
            has_generation: $generation, lists: $lists,
        }),*];
    };
}

kinds! {
    "", "v1", "secrets", "Secret", false, false, &[];
    "", "v1", "services", "Service", true, false, SERVICE;
    "", "v1", "serviceaccounts", "ServiceAccount", false, false, &[];
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true, false, &[];
    "", "v1", "pods", "Pod", true, true, POD;
    "apps", "v1", "statefulsets", "StatefulSet", true, true, STATEFUL_SET;
    "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", false, true, &[];
    "networking.k8s.io", "v1", "ingresses", "Ingress", true, true, &[];
    "gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", true, true, &[];
    "events.k8s.io", "v1", "events", "Event", false, false, &[];
    "coordination.k8s.io", "v1", "leases", "Lease", false, false, &[];
    OURS, "v1alpha1", "linktreewebhooks", "LinktreeWebhook", true, true, WEBHOOK;
    OURS, "v1alpha1", "linktreeconnections", "LinktreeConnection", true, true, CONNECTION;
}

impl Kind {
    pub fn named(kind: &str) -> &'static Kind {
        KINDS.iter().find(|it| it.kind == kind).unwrap_or_else(|| panic!("unknown kind {kind}"))
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The keys of the list's items, if it is of type map or set.
    pub fn list_keys(&self, path: &str) -> Option<&'static [&'static str]> {
        let everywhere: &[(&str, &'static [&'static str])] =
            &[("metadata.ownerReferences", &["uid"]), ("metadata.finalizers", &[])];
        everywhere.iter().chain(self.lists).find(|(list, _)| *list == path).map(|(_, keys)| *keys)
    }
}

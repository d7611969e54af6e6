//! The initial objects of a node-mode cluster: volumes, and RBAC for CoreDNS.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::node;
use super::state::State;

/// The number of volumes per access mode. A released volume is not reused, and tests claim many.
const VOLUMES: [(&str, &str, usize); 2] = [("rwop", "ReadWriteOncePod", 24), ("rwo", "ReadWriteOnce", 12)];

/// Creates the volumes' directories and returns all objects as one List.
pub fn all(state: &State) -> Result<String> {
    let mut items = vec![storage_class(), dns_role(), dns_binding()];
    for (prefix, access_mode, count) in VOLUMES {
        for number in 1..=count {
            let name = format!("{prefix}-{number}");
            let path = state.path("volumes").join(&name);
            fs::create_dir_all(&path)?;
            items.push(json!({
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": "10Gi"},
                    // ReadWriteOncePod must be the only access mode.
                    "accessModes": [access_mode],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": "local",
                    // Not hostPath, which ignores fsGroup.
                    "local": {"path": path},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node::NAME]},
                    ]}]}},
                },
            }));
        }
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

fn dns_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    })
}

fn dns_binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
    })
}

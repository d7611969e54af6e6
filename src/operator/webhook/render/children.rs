//! Renders a webhook's child objects from its spec. Pure: it depends on no object in the cluster.
//!
//! The pod is reachable from the internet: it has a restricted security context and no Kubernetes credentials, and gets
//! its configuration as a file.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{
            Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, HTTPGetAction, KeyToPath,
            PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ResourceRequirements, SeccompProfile, Secret, SecretVolumeSource, SecurityContext, Service, ServiceAccount,
            ServicePort, ServiceSpec, Volume, VolumeMount, VolumeResourceRequirements,
        },
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    exposure::ExposureObject,
    metadata::{SERVICE_PORT, labels, metadata, selector},
    pod_config::{CaBundleReference, CaBundleSource, EnvironmentVariable, ReceiverPodConfig},
};
use crate::{
    linktree::secret::Secret as LinktreeSecret,
    operator::{
        kubernetes::{
            apply::Desired,
            names::{JOURNAL_VOLUME, MANAGED_BY},
        },
        webhook::spec::Spec,
    },
    route::{self, ADMIN_PORT, DELIVERY_PORT, Route},
};

/// The key of the admin token in the route Secret. The token is generated once, when that Secret is created.
pub const ADMIN_TOKEN_KEY: &str = "admin-token";
/// The key of the probe key in the route Secret. It is generated once for each webhook.
pub const PROBE_KEY_KEY: &str = "probe-key";
/// The key of the route Secret with the uid of the webhook that the probe key was made for.
pub const PROBE_KEY_OWNER_KEY: &str = "probe-key-owner";
/// The uid and gid that the receiver runs as.
const NON_ROOT: i64 = 65_532;
/// The label with a namespace's name, which the API server sets on each namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
const ROUTE_DIRECTORY: &str = "/etc/linktree";
const TLS_DIRECTORY: &str = "/etc/linktree-tls";
const CA_DIRECTORY: &str = "/etc/linktree-ca";
/// The CA bundle's file, whatever its key is.
const CA_FILE: &str = "ca.crt";
const JOURNAL_DIRECTORY: &str = "/var/lib/linktree";

/// The child objects except the route Secret, which [`route_secret`] renders from the route file and the admin token.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    pub service_account: Desired,
    pub service: Desired,
    pub network_policy: Desired,
    pub stateful_set: Desired,
    /// The Ingress or HTTPRoute that routes the URL to the Service, if the spec requests one.
    pub exposure: Option<ExposureObject>,
}

/// Renders the child objects of a webhook, except the route Secret.
///
/// # Errors
/// When an object cannot be serialized to JSON, which these types always can.
pub fn render(spec: &Spec, config: &ReceiverPodConfig) -> Result<Children, serde_json::Error> {
    Ok(Children {
        service_account: Desired::new(&service_account(spec))?,
        service: Desired::new(&service(spec))?,
        network_policy: Desired::new(&network_policy(spec, config))?,
        stateful_set: Desired::new(&stateful_set(spec, config))?,
        exposure: super::exposure::render(spec)?,
    })
}

/// Renders the route Secret, with the route file, the admin token and the probe key.
///
/// # Errors
/// As [`render`].
pub fn route_secret(spec: &Spec, route_file: Vec<u8>, route: &Route) -> Result<Desired, serde_json::Error> {
    let bytes = |secret: &LinktreeSecret| secret.expose().as_bytes().to_vec();
    let data = [
        (route::FILE, route_file),
        (ADMIN_TOKEN_KEY, bytes(&route.admin_token)),
        (PROBE_KEY_KEY, bytes(&route.probe_key)),
        (PROBE_KEY_OWNER_KEY, spec.uid.as_bytes().to_vec()),
    ];
    Desired::new(&secret(spec, spec.route_secret_name(), data))
}

/// A Secret with the webhook as its owner reference.
#[must_use]
pub fn secret<const N: usize>(spec: &Spec, name: String, data: [(&str, Vec<u8>); N]) -> Secret {
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), k8s_openapi::ByteString(value))).collect();
    Secret { metadata: metadata(spec, name), data: Some(data), ..Secret::default() }
}

fn service_account(spec: &Spec) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(spec, spec.receiver_name()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

fn service(spec: &Spec) -> Service {
    let port = |name: &str, port: u16, target: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        target_port: Some(IntOrString::Int(i32::from(target))),
        ..ServicePort::default()
    };
    let deliveries = match spec.tls_secret() {
        None => port("deliveries", SERVICE_PORT, DELIVERY_PORT),
        Some(_) => ServicePort { app_protocol: Some("https".to_owned()), ..port("deliveries", 443, DELIVERY_PORT) },
    };
    Service {
        metadata: metadata(spec, spec.receiver_name()),
        spec: Some(ServiceSpec {
            selector: Some(selector(spec)),
            // The Service has no admin port: the operator connects to the pod directly, and no Ingress or HTTPRoute
            // must reach that port.
            ports: Some(vec![deliveries]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Allows only pods of the operator, in its namespace, to connect to the admin port, and any client to send deliveries.
/// Any namespace may have pods with the operator's label. Probes of the node's kubelet pass any network policy.
fn network_policy(spec: &Spec, config: &ReceiverPodConfig) -> NetworkPolicy {
    let port = |port: u16| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(port))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    let labeled = |label: &str, value: &str| {
        Some(LabelSelector {
            match_labels: Some([(label.to_owned(), value.to_owned())].into()),
            ..LabelSelector::default()
        })
    };
    let operator = NetworkPolicyPeer {
        namespace_selector: labeled(NAMESPACE_LABEL, &config.operator_namespace),
        pod_selector: labeled("app.kubernetes.io/name", MANAGED_BY),
        ..NetworkPolicyPeer::default()
    };
    let rule = |from, to| NetworkPolicyIngressRule { from, ports: Some(vec![port(to)]) };
    NetworkPolicy {
        metadata: metadata(spec, spec.receiver_name()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(selector(spec)), ..LabelSelector::default() }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![rule(None, DELIVERY_PORT), rule(Some(vec![operator]), ADMIN_PORT)]),
            ..NetworkPolicySpec::default()
        }),
    }
}

fn stateful_set(spec: &Spec, config: &ReceiverPodConfig) -> StatefulSet {
    StatefulSet {
        metadata: metadata(spec, spec.receiver_name()),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(spec.receiver_name()),
            // With OrderedReady, a pod that was never ready is not replaced by one with a corrected image.
            pod_management_policy: Some("Parallel".to_owned()),
            selector: LabelSelector { match_labels: Some(selector(spec)), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(spec)), ..ObjectMeta::default() }),
                spec: Some(pod(spec, config)),
            },
            volume_claim_templates: Some(vec![journal_claim(spec)]),
            // The claim survives the StatefulSet: with `Delete`, it would have an owner reference to it, and after a
            // restore that uid is dead. `journal_claims` deletes it.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn pod(spec: &Spec, config: &ReceiverPodConfig) -> PodSpec {
    PodSpec {
        service_account_name: Some(spec.receiver_name()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NON_ROOT),
            run_as_group: Some(NON_ROOT),
            fs_group: Some(NON_ROOT),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        // More than the receiver takes to finish the requests and forwards in flight.
        termination_grace_period_seconds: Some(30),
        containers: vec![container(spec, config)],
        volumes: Some(volumes(spec, config)),
        ..PodSpec::default()
    }
}

fn volumes(spec: &Spec, config: &ReceiverPodConfig) -> Vec<Volume> {
    let volume = |name: &str, source| Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() };
    let files = |secret: String, files: &[&str]| SecretVolumeSource {
        secret_name: Some(secret),
        default_mode: Some(0o440),
        items: Some(
            files
                .iter()
                .map(|file| KeyToPath { key: (*file).to_owned(), path: (*file).to_owned(), mode: None })
                .collect(),
        ),
        optional: None,
    };
    let route = volume("route", files(spec.route_secret_name(), &[route::FILE]));
    let certificate = spec.tls_secret().cloned().map(|secret| {
        let files = files(secret, &[route::CERTIFICATE_FILE, route::CERTIFICATE_KEY_FILE]);
        // Optional: without this Secret, the receiver starts and reports that it is missing.
        volume("certificate", SecretVolumeSource { optional: Some(true), ..files })
    });
    [route].into_iter().chain(certificate).chain(config.ca_bundle.as_ref().map(ca_bundle_volume)).collect()
}

/// The volume with the CA bundle. It is optional: without it, the receiver still verifies and stores deliveries, and
/// waits for the file.
fn ca_bundle_volume(CaBundleReference { source, key }: &CaBundleReference) -> Volume {
    let items = Some(vec![KeyToPath { key: key.clone(), path: CA_FILE.to_owned(), mode: None }]);
    let (default_mode, optional) = (Some(0o440), Some(true));
    let volume = Volume { name: "ca-bundle".to_owned(), ..Volume::default() };
    match source {
        CaBundleSource::ConfigMap(name) => Volume {
            config_map: Some(ConfigMapVolumeSource { name: name.clone(), default_mode, items, optional }),
            ..volume
        },
        CaBundleSource::Secret(name) => Volume {
            secret: Some(SecretVolumeSource { secret_name: Some(name.clone()), default_mode, items, optional }),
            ..volume
        },
    }
}

fn arguments(spec: &Spec, config: &ReceiverPodConfig) -> Vec<String> {
    let common = [
        "receiver".to_owned(),
        format!("--route-file={ROUTE_DIRECTORY}/{}", route::FILE),
        format!("--journal={JOURNAL_DIRECTORY}"),
        format!("--delivery-address=0.0.0.0:{DELIVERY_PORT}"),
        format!("--admin-address=0.0.0.0:{ADMIN_PORT}"),
        "--log-format=json".to_owned(),
    ];
    let tls = spec.tls_secret().map(|_| format!("--tls-directory={TLS_DIRECTORY}"));
    let authorities = config.ca_bundle.as_ref().map(|_| format!("--ca-file={CA_DIRECTORY}/{CA_FILE}"));
    common
        .into_iter()
        .chain(tls)
        .chain(authorities)
        .chain(config.egress_allow.iter().map(|network| format!("--egress-allow={network}")))
        .collect()
}

fn container(spec: &Spec, config: &ReceiverPodConfig) -> Container {
    let port = |name: &str, port: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        ..ContainerPort::default()
    };
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        // `None` instead of `false`, which the API server does not store: it would differ at every comparison.
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![mount("route", ROUTE_DIRECTORY, true), mount(JOURNAL_VOLUME, JOURNAL_DIRECTORY, false)];
    mounts.extend(spec.tls_secret().map(|_| mount("certificate", TLS_DIRECTORY, true)));
    mounts.extend(config.ca_bundle.as_ref().map(|_| mount("ca-bundle", CA_DIRECTORY, true)));
    Container {
        name: "receiver".to_owned(),
        image: Some(config.image.clone()),
        image_pull_policy: config.pull_policy.clone(),
        args: Some(arguments(spec, config)),
        env: environment(config),
        ports: Some(vec![port("deliveries", DELIVERY_PORT), port("admin", ADMIN_PORT)]),
        readiness_probe: Some(Probe { period_seconds: Some(2), ..probe("/readyz") }),
        liveness_probe: Some(Probe { period_seconds: Some(10), ..probe("/healthz") }),
        resources: Some(ResourceRequirements {
            requests: Some(quantities(&[("cpu", "10m"), ("memory", "32Mi")])),
            limits: Some(quantities(&[("memory", "256Mi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// The variables of the configuration. The API server stores neither an empty list nor an empty value.
fn environment(config: &ReceiverPodConfig) -> Option<Vec<EnvVar>> {
    let variables = config.environment.variables();
    let variable = |EnvironmentVariable { name, value }: &EnvironmentVariable| EnvVar {
        name: name.clone(),
        value: (!value.is_empty()).then(|| value.clone()),
        value_from: None,
    };
    (!variables.is_empty()).then(|| variables.iter().map(variable).collect())
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(ADMIN_PORT)),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

/// The claim for the journal's volume. `ReadWriteOncePod` prevents a second pod from mounting the journal, even on the
/// same node; it allows no other access mode beside it.
///
/// The template is immutable and so must not depend on the webhook's uid: a recreated or restored webhook applies the
/// existing StatefulSet. The claim has no owner, since it outlives its webhook.
fn journal_claim(spec: &Spec) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(JOURNAL_VOLUME.to_owned()),
            labels: Some(labels(spec)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOncePod".to_owned()]),
            storage_class_name: spec.journal.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), spec.journal.capacity.clone())].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
}

#[cfg(test)]
mod tests;

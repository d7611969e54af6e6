//! etcd, kube-apiserver and kube-controller-manager: the part both modes have.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;

use super::cli::Mode;
use super::kubeconfig;
use super::pki::{self, Authority, Pair};
use super::starter::Starter;
use super::state::Port;

/// The controllers without which an API server alone would mislead a test: namespaces would stay Terminating, owner
/// references would not be collected, Pods would have no ServiceAccount, aggregated ClusterRoles would be empty.
const CONTROLLERS: &str = "serviceaccount-controller,serviceaccount-token-controller,\
    root-ca-certificate-publisher-controller,namespace-controller,garbage-collector-controller,\
    clusterrole-aggregation-controller";

pub const SERVICE_RANGE: &str = "10.96.0.0/16";

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The API server's URL.
pub fn server(starter: &Starter<'_>) -> String {
    format!("https://{}:{}", starter.address, starter.port(Port::ApiServer))
}

/// Starts the three and waits until the API server serves and the default ServiceAccount exists.
pub fn start(starter: &mut Starter<'_>, mode: Mode) -> Result<Authority> {
    let authority = Authority::create(&starter.state.path("pki"))?;
    let admin = authority.client("admin", "admin", Some("system:masters"))?;
    kubeconfig::write(&starter.state.kubeconfig(), &server(starter), &authority, &admin)?;
    let etcd = authority.server("etcd", "etcd", &["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    start_etcd(starter, &authority, &etcd)?;
    start_api_server(starter, &authority, &etcd)?;
    starter.wait_kubectl("the API server is ready", "kube-apiserver", &["get", "--raw=/readyz"])?;
    start_controller_manager(starter, mode, &authority)?;
    Ok(authority)
}

/// Waits for what the controllers make in every namespace.
pub fn wait_for_controllers(starter: &mut Starter<'_>) -> Result<()> {
    let account = ["--namespace=default", "get", "serviceaccount/default", "configmap/kube-root-ca.crt"];
    starter.wait_kubectl("the default ServiceAccount exists", "kube-controller-manager", &account)
}

fn start_etcd(starter: &mut Starter<'_>, authority: &Authority, pair: &Pair) -> Result<()> {
    let client = format!("https://{}", starter.local(Port::Etcd));
    let peer = format!("http://{}", starter.local(Port::EtcdPeer));
    starter.start(
        "etcd",
        &[
            ("name", "test".to_owned()),
            ("data-dir", shown(&starter.state.path("data/etcd"))),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("test={peer}")),
            ("cert-file", shown(&pair.certificate)),
            ("key-file", shown(&pair.key)),
            ("trusted-ca-file", shown(&authority.certificate())),
            ("client-cert-auth", "true".to_owned()),
            // Nothing here has to survive a power cut, and fsync is most of etcd's time on a slow disk.
            ("unsafe-no-fsync", "true".to_owned()),
            ("log-level", "warn".to_owned()),
        ],
    )
}

fn start_api_server(starter: &mut Starter<'_>, authority: &Authority, etcd: &Pair) -> Result<()> {
    let serving = authority.server("kube-apiserver", "kube-apiserver", &pki::api_server_names(starter.address))?;
    let ca = shown(&authority.certificate());
    let mut flags = vec![
        ("etcd-servers", format!("https://{}", starter.local(Port::Etcd))),
        ("etcd-cafile", ca.clone()),
        ("etcd-certfile", shown(&etcd.certificate)),
        ("etcd-keyfile", shown(&etcd.key)),
        ("bind-address", starter.address.to_string()),
        ("secure-port", starter.port(Port::ApiServer).to_string()),
        ("tls-cert-file", shown(&serving.certificate)),
        ("tls-private-key-file", shown(&serving.key)),
        ("client-ca-file", ca.clone()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", shown(&starter.pki("service-accounts.pub"))),
        ("service-account-signing-key-file", shown(&starter.pki("service-accounts.key"))),
        ("service-cluster-ip-range", SERVICE_RANGE.to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("profiling", "false".to_owned()),
    ];
    if starter.address == Ipv4Addr::LOCALHOST {
        // An Endpoints object may not hold a loopback address, and without a node nobody follows it.
        flags.push(("endpoint-reconciler-type", "none".to_owned()));
    } else {
        let kubelet = authority.client("kube-apiserver-kubelet", "kube-apiserver-kubelet", Some("system:masters"))?;
        flags.extend([
            ("advertise-address", starter.address.to_string()),
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("kubelet-certificate-authority", ca),
            ("kubelet-client-certificate", shown(&kubelet.certificate)),
            ("kubelet-client-key", shown(&kubelet.key)),
        ]);
    }
    starter.start("kube-apiserver", &flags)
}

fn start_controller_manager(starter: &mut Starter<'_>, mode: Mode, authority: &Authority) -> Result<()> {
    let user = authority.client("kube-controller-manager", "system:kube-controller-manager", None)?;
    let config = starter.state.path("kube-controller-manager.kubeconfig");
    kubeconfig::write(&config, &server(starter), authority, &user)?;
    let controllers = match mode {
        Mode::ControlPlane => CONTROLLERS,
        Mode::Node => "*",
    };
    starter.start(
        "kube-controller-manager",
        &[
            ("kubeconfig", shown(&config)),
            ("controllers", controllers.to_owned()),
            // Each controller then has its own ServiceAccount and the roles Kubernetes ships for it.
            ("use-service-account-credentials", "true".to_owned()),
            ("service-account-private-key-file", shown(&starter.pki("service-accounts.key"))),
            ("root-ca-file", shown(&authority.certificate())),
            ("cluster-signing-cert-file", shown(&authority.certificate())),
            ("cluster-signing-key-file", shown(&starter.pki("ca.key"))),
            ("leader-elect", "false".to_owned()),
            ("bind-address", Ipv4Addr::LOCALHOST.to_string()),
            ("secure-port", starter.port(Port::ControllerManager).to_string()),
            ("cert-dir", shown(&starter.state.path("data/kube-controller-manager"))),
            // It makes this directory, by default below /usr.
            ("flex-volume-plugin-dir", shown(&starter.state.path("data/volume-plugins"))),
            ("profiling", "false".to_owned()),
        ],
    )
}

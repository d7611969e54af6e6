//! etcd, kube-apiserver and kube-controller-manager, in both modes.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;

use super::cli::Mode;
use super::kubeconfig;
use super::pki::{self, Authority, Pair};
use super::starter::Starter;
use super::state::Port;

/// The controllers that a test of an API server needs: without them namespaces stay Terminating, owned objects are not
/// collected, Pods have no ServiceAccount, and aggregated ClusterRoles are empty.
const CONTROLLERS: &str = "serviceaccount-controller,serviceaccount-token-controller,\
    root-ca-certificate-publisher-controller,namespace-controller,garbage-collector-controller,\
    clusterrole-aggregation-controller";

pub const SERVICE_RANGE: &str = "10.96.0.0/16";

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The API server's URL.
pub fn server(starter: &Starter<'_>) -> String {
    format!("https://{}:{}", starter.address, starter.port(Port::ApiServer))
}

/// Starts the three programs and waits until the API server is ready.
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

/// Waits for the objects that controllers create in every namespace.
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
            ("data-dir", text(&starter.state.path("data/etcd"))),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("test={peer}")),
            ("cert-file", text(&pair.certificate)),
            ("key-file", text(&pair.key)),
            ("trusted-ca-file", text(&authority.certificate())),
            ("client-cert-auth", "true".to_owned()),
            // The data need not survive a power cut, and fsync takes most of etcd's time on a slow disk.
            ("unsafe-no-fsync", "true".to_owned()),
            ("log-level", "warn".to_owned()),
        ],
    )
}

fn start_api_server(starter: &mut Starter<'_>, authority: &Authority, etcd: &Pair) -> Result<()> {
    let serving = authority.server("kube-apiserver", "kube-apiserver", &pki::api_server_names(starter.address))?;
    let ca = text(&authority.certificate());
    let mut flags = vec![
        ("etcd-servers", format!("https://{}", starter.local(Port::Etcd))),
        ("etcd-cafile", ca.clone()),
        ("etcd-certfile", text(&etcd.certificate)),
        ("etcd-keyfile", text(&etcd.key)),
        ("bind-address", starter.address.to_string()),
        ("secure-port", starter.port(Port::ApiServer).to_string()),
        ("tls-cert-file", text(&serving.certificate)),
        ("tls-private-key-file", text(&serving.key)),
        ("client-ca-file", ca.clone()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", text(&starter.pki("service-accounts.pub"))),
        ("service-account-signing-key-file", text(&starter.pki("service-accounts.key"))),
        ("service-cluster-ip-range", SERVICE_RANGE.to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("profiling", "false".to_owned()),
    ];
    if starter.address == Ipv4Addr::LOCALHOST {
        // An Endpoints object must not contain a loopback address, and without a node it is unused.
        flags.push(("endpoint-reconciler-type", "none".to_owned()));
    } else {
        let kubelet = authority.client("kube-apiserver-kubelet", "kube-apiserver-kubelet", Some("system:masters"))?;
        flags.extend([
            ("advertise-address", starter.address.to_string()),
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("kubelet-certificate-authority", ca),
            ("kubelet-client-certificate", text(&kubelet.certificate)),
            ("kubelet-client-key", text(&kubelet.key)),
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
            ("kubeconfig", text(&config)),
            ("controllers", controllers.to_owned()),
            // Each controller then uses its own ServiceAccount and its built-in roles.
            ("use-service-account-credentials", "true".to_owned()),
            ("service-account-private-key-file", text(&starter.pki("service-accounts.key"))),
            ("root-ca-file", text(&authority.certificate())),
            ("cluster-signing-cert-file", text(&authority.certificate())),
            ("cluster-signing-key-file", text(&starter.pki("ca.key"))),
            ("leader-elect", "false".to_owned()),
            ("bind-address", Ipv4Addr::LOCALHOST.to_string()),
            ("secure-port", starter.port(Port::ControllerManager).to_string()),
            ("cert-dir", text(&starter.state.path("data/kube-controller-manager"))),
            // The controller manager creates this directory, by default below /usr.
            ("flex-volume-plugin-dir", text(&starter.state.path("data/volume-plugins"))),
            ("profiling", "false".to_owned()),
        ],
    )
}

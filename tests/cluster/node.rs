//! The node: containerd, kubelet, kube-proxy, CoreDNS and the scheduler around the control plane.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use super::cli::Mode;
use super::pki::Authority;
use super::starter::{self, Starter};
use super::state::{Port, State};
use super::wait::{self, Check};
use super::{control_plane, kubeconfig, manifests, network, node_config, sweep, tools};

/// The node's name in the cluster.
pub const NAME: &str = "node";
/// containerd's socket, below the cluster's directory.
pub const SOCKET: &str = "run/containerd.sock";

/// The cgroup of all pods of a cluster, in every hierarchy.
pub fn cgroup(state: &State) -> String {
    format!("ltw-{}", state.name)
}

/// Starts all programs and waits until the node is Ready and names resolve.
pub fn start(starter: &mut Starter<'_>) -> Result<()> {
    // The container runtime does not need the API server: both start at once.
    start_containerd(starter)?;
    let authority = control_plane::start(starter, Mode::Node)?;
    let user = |name: &str, user: &str, group: Option<&str>| -> Result<PathBuf> {
        let config = starter.state.path(&format!("{name}.kubeconfig"));
        kubeconfig::write(&config, &control_plane::server(starter), &authority, &authority.client(name, user, group)?)?;
        Ok(config)
    };
    let scheduler = user("kube-scheduler", "system:kube-scheduler", None)?;
    let kubelet = user("kubelet", &format!("system:node:{NAME}"), Some("system:nodes"))?;
    let proxy = user("kube-proxy", "system:kube-proxy", None)?;
    let dns = user("coredns", "system:coredns", None)?;

    let ctr = starter.bin.join("ctr");
    starter.wait("containerd serves", "containerd", |starter| {
        let socket = starter.state.path(SOCKET).display().to_string();
        let result = starter::run(&ctr, &["-a", &socket, "version"]);
        Ok(result.map_or_else(|error| Check::NotYet(format!("{error:#}")), |()| Check::Holds))
    })?;
    import(&ctr, &starter.state.path(SOCKET), &starter.bin.join("pause.oci.tar"))?;
    start_kubelet(starter, &authority, &kubelet)?;
    start_scheduler(starter, &scheduler)?;
    start_kube_proxy(starter, &proxy)?;
    let applied = starter.kubectl(&["create", "-f", "-"], &manifests::all(starter.state)?)?;
    ensure!(
        applied.status.success(),
        "cannot create the initial objects: {}",
        String::from_utf8_lossy(&applied.stderr)
    );
    start_coredns(starter, &dns)?;
    wait_until_ready(starter)
}

/// Imports an OCI archive into the kubelet's image namespace, under its name in the archive.
pub fn import(ctr: &Path, socket: &Path, archive: &Path) -> Result<()> {
    let (socket, archive) = (socket.display().to_string(), archive.display().to_string());
    starter::run(ctr, &["-a", &socket, "-n", "k8s.io", "images", "import", "--local", &archive])
}

fn wait_until_ready(starter: &mut Starter<'_>) -> Result<()> {
    let ready = format!("node/{NAME}");
    let ready = ["wait", "--for=condition=Ready", "--timeout=2s", ready.as_str()];
    starter.wait_kubectl("the node is Ready", "kubelet", &ready)?;
    for (what, program, port, path) in [
        ("kube-proxy has written its rules", "kube-proxy", Port::ProxyHealth, "/healthz"),
        ("CoreDNS is ready", "coredns", Port::DnsReady, "/ready"),
    ] {
        starter.wait(what, program, |starter| Ok(wait::http_ok(starter.local(port), path)))?;
    }
    control_plane::wait_for_controllers(starter)
}

fn start_containerd(starter: &mut Starter<'_>) -> Result<()> {
    let plugins = tools::cni_plugins().context("the CNI plugins are not installed")?;
    fs::create_dir_all(starter.state.path("cni"))?;
    fs::create_dir_all(starter.state.path("run"))?;
    fs::write(starter.state.path("cni/10-bridge.conflist"), network::cni(starter.state).to_string())?;
    // overlayfs does not nest, and inside a container the state directory may be on one.
    let nested = statfs(&starter.state.dir)?.filesystem_type() == OVERLAYFS_SUPER_MAGIC;
    let config = node_config::containerd(starter, &plugins, if nested { "native" } else { "overlayfs" });
    let path = starter.state.path("containerd.toml");
    fs::write(&path, config)?;
    starter.start("containerd", &[("config", path.display().to_string())])
}

fn start_kubelet(starter: &mut Starter<'_>, authority: &Authority, kubeconfig: &Path) -> Result<()> {
    create_cgroups(starter.state)?;
    let addresses = [NAME.to_owned(), network::NODE_ADDRESS.to_string()];
    let serving = authority.server("kubelet-serving", &format!("system:node:{NAME}"), &addresses)?;
    let config = starter.state.path("kubelet.json");
    fs::write(&config, node_config::kubelet(starter, &serving).to_string())?;
    starter.start(
        "kubelet",
        &[
            ("config", config.display().to_string()),
            ("kubeconfig", kubeconfig.display().to_string()),
            ("root-dir", starter.state.path("data/kubelet").display().to_string()),
            ("hostname-override", NAME.to_owned()),
            ("node-ip", network::NODE_ADDRESS.to_string()),
        ],
    )
}

/// Creates the kubelet's cgroup; the kubelet rejects one that does not exist.
fn create_cgroups(state: &State) -> Result<()> {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.subtree_control");
    if v2.exists() {
        fs::write(v2, "+cpu +cpuset +memory +pids").context("enabling cgroup controllers")?;
    }
    for dir in sweep::cgroup_dirs(state) {
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // In version 1 a new cpuset is empty, and a process in it could not run.
            if let (false, Some(Ok(all))) = (v2.exists(), dir.parent().map(|parent| fs::read(parent.join(file)))) {
                fs::write(dir.join(file), all)?;
            }
        }
    }
    Ok(())
}

fn start_scheduler(starter: &mut Starter<'_>, kubeconfig: &Path) -> Result<()> {
    starter.start(
        "kube-scheduler",
        &[
            ("kubeconfig", kubeconfig.display().to_string()),
            ("leader-elect", "false".to_owned()),
            ("bind-address", Ipv4Addr::LOCALHOST.to_string()),
            ("secure-port", starter.port(Port::Scheduler).to_string()),
            ("profiling", "false".to_owned()),
        ],
    )
}

fn start_kube_proxy(starter: &mut Starter<'_>, kubeconfig: &Path) -> Result<()> {
    let config = starter.state.path("kube-proxy.json");
    fs::write(&config, node_config::kube_proxy(starter, kubeconfig).to_string())?;
    starter.start("kube-proxy", &[("config", config.display().to_string())])
}

fn start_coredns(starter: &mut Starter<'_>, kubeconfig: &Path) -> Result<()> {
    let config = starter.state.path("Corefile");
    fs::write(&config, node_config::coredns(starter, kubeconfig))?;
    starter.start_with("coredns", &["-conf".to_owned(), config.display().to_string()])
}

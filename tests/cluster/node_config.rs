//! The configuration files of the node's programs.

use std::path::Path;

use serde_json::{Value, json};

use super::network::{NODE_ADDRESS, POD_RANGE};
use super::node;
use super::pki::Pair;
use super::starter::Starter;
use super::state::Port;

/// The image of the sandbox container, built by `tools/build`.
const PAUSE_IMAGE: &str = "localhost/pause:1";

/// containerd's configuration. A JSON string is a TOML string as well, so paths are quoted by serde_json.
pub fn containerd(starter: &Starter<'_>, cni_plugins: &Path, snapshotter: &str) -> String {
    let path = |below: &str| json!(starter.state.path(below)).to_string();
    let program = |name: &str| json!(starter.bin.join(name)).to_string();
    // The disabled plugins would create directories or sockets outside the cluster's directory.
    format!(
        r#"version = 3
root = {root}
state = {state}
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
address = {socket}

[ttrpc]
address = {ttrpc}

[plugins.'io.containerd.cri.v1.images']
snapshotter = "{snapshotter}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
# Without this runc fails with "can't get final child's PID from pipe" where lowering oom_score_adj is forbidden.
restrict_oom_score_adj = true
# Puts network namespaces below the cluster's directory, where teardown unmounts them.
netns_mounts_under_state_dir = true
tolerate_missing_hugetlb_controller = true
enable_cdi = false

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [{cni_plugins}]
conf_dir = {cni}
use_internal_loopback = true

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = {shim}

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = {runc}
Root = {runc_root}
SystemdCgroup = false
"#,
        root = path("data/containerd"),
        state = path("run/containerd"),
        socket = path(node::SOCKET),
        ttrpc = path("run/containerd.ttrpc.sock"),
        cni_plugins = json!(cni_plugins),
        cni = path("cni"),
        shim = program("containerd-shim-runc-v2"),
        runc = program("runc"),
        runc_root = path("run/runc"),
    )
}

/// The kubelet's configuration.
pub fn kubelet(starter: &Starter<'_>, serving: &Pair) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": starter.port(Port::Kubelet),
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": starter.port(Port::KubeletHealth),
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": starter.pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": serving.certificate,
        "tlsPrivateKeyFile": serving.key,
        "containerRuntimeEndpoint": format!("unix://{}", starter.state.path(node::SOCKET).display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node::cgroup(starter.state)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        // Without the machine's resolver: names outside the cluster do not resolve.
        "resolvConf": "",
        "podLogsDir": starter.state.path("logs/pods"),
        "volumePluginDir": starter.state.path("data/volume-plugins"),
        // The machine's disk may be nearly full of build products, which must not evict pods.
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // kube-proxy uses nftables; otherwise the kubelet would leave chains in iptables.
        "makeIPTablesUtilChains": false,
        "serializeImagePulls": false,
    })
}

/// kube-proxy's configuration. The zeros keep the machine's connection tracking limits.
pub fn kube_proxy(starter: &Starter<'_>, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": node::NAME,
        "nodePortAddresses": [POD_RANGE],
        "healthzBindAddress": starter.local(Port::ProxyHealth),
        "metricsBindAddress": starter.local(Port::ProxyMetrics),
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    })
}

/// CoreDNS' configuration: the cluster's names, and as a private internet NAME.example.com, which is the Service NAME
/// of the namespace `internet`. No other names. Two blocks, because `template` comes before `kubernetes` within one.
pub fn coredns(starter: &Starter<'_>, kubeconfig: &Path) -> String {
    format!(
        "cluster.local:53 in-addr.arpa:53 ip6.arpa:53 example.com:53 {{
    bind {NODE_ADDRESS}
    errors
    health {health}
    ready {ready}
    rewrite name suffix .example.com .internet.svc.cluster.local answer auto
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
}}
.:53 {{
    bind {NODE_ADDRESS}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
",
        health = starter.local(Port::DnsHealth),
        ready = starter.local(Port::DnsReady),
        kubeconfig = kubeconfig.display(),
    )
}

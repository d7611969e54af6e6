//! The node's network: a bridge with the node's address and the pods, and kube-proxy's nftables tables.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::control_plane::SERVICE_RANGE;
use super::starter::run;
use super::state::{Record, State};

/// The bridge, and the CNI network on it.
pub const NAME: &str = "ltw0";
/// The node's address and the pods' gateway. Not a loopback address: pods must reach it, and Endpoints must not
/// contain one.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
pub const POD_RANGE: &str = "10.244.0.0/24";
/// kube-proxy's tables, one for each family.
const TABLES: [&str; 2] = ["ip", "ip6"];

/// Kernel parameters that the launcher sets (with the value) or the kubelet sets; teardown restores all.
const SYSCTLS: [(&str, Option<&str>); 8] = [
    ("net/ipv4/ip_forward", Some("1")),
    // A response of a Service from a pod on the same bridge must pass the tables that rewrote the request.
    ("net/bridge/bridge-nf-call-iptables", Some("1")),
    ("vm/overcommit_memory", None),
    ("vm/panic_on_oom", None),
    ("kernel/panic", None),
    ("kernel/panic_on_oops", None),
    ("kernel/keys/root_maxkeys", None),
    ("kernel/keys/root_maxbytes", None),
];

/// Creates the bridge, after it has recorded the kernel parameters that it changes.
pub fn prepare(state: &State, record: &mut Record) -> Result<()> {
    ensure!(
        !bridge_exists(),
        "the interface {NAME} exists, but no recorded cluster created it: remove it with `ip link delete {NAME}`"
    );
    ensure!(
        tables().is_empty(),
        "the nftables table of kube-proxy exists: another kube-proxy runs on this machine, stop it first"
    );
    if !Path::new("/proc/sys/net/bridge").exists() {
        // If it is neither built in nor loadable, Services still work between pods and the node.
        let _ = run(Path::new("modprobe"), &["br_netfilter"]);
    }
    for (name, _) in SYSCTLS {
        let path = PathBuf::from("/proc/sys").join(name);
        if let Ok(value) = fs::read_to_string(&path) {
            record.sysctls.insert(path, value.trim().to_owned());
        }
    }
    state.write_record(record)?;
    for (path, wanted) in SYSCTLS.map(|(name, wanted)| (PathBuf::from("/proc/sys").join(name), wanted)) {
        if let Some(wanted) = wanted.filter(|_| path.exists()) {
            fs::write(path, wanted)?;
        }
    }
    let ip = Path::new("ip");
    run(ip, &["link", "add", NAME, "type", "bridge"])?;
    run(ip, &["address", "add", &format!("{NODE_ADDRESS}/24"), "dev", NAME])?;
    run(ip, &["link", "set", NAME, "up"])?;
    // kube-proxy rewrites the machine's own requests to Services; without a route the kernel would reject them first.
    run(ip, &["route", "add", SERVICE_RANGE, "dev", NAME, "metric", "4096"])
}

/// Removes the bridge, the pods' interfaces on it and kube-proxy's tables.
pub fn remove() -> Result<()> {
    let ports: Vec<String> = fs::read_dir(format!("/sys/class/net/{NAME}/brif"))
        .map(|ports| ports.flatten().map(|port| port.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    for port in ports {
        // A pod's interface disappears with its network namespace, possibly meanwhile.
        let _ = run(Path::new("ip"), &["link", "delete", &port]);
    }
    if bridge_exists() {
        run(Path::new("ip"), &["link", "delete", NAME])?;
    }
    for family in tables() {
        run(Path::new("nft"), &["delete", "table", family, "kube-proxy"])?;
    }
    Ok(())
}

/// Restores the kernel parameters from the record.
pub fn restore(record: &Record) -> Result<()> {
    for (path, value) in &record.sysctls {
        if fs::read_to_string(path)?.trim() != value {
            fs::write(path, value)?;
        }
    }
    Ok(())
}

/// The CNI configuration. Without a default route pods reach the node, each other and Services; other connections fail
/// at once and never leave the machine.
pub fn cni(state: &State) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": NAME,
        "plugins": [{
            "type": "bridge",
            "bridge": NAME,
            "isGateway": true,
            // A pod may reach itself through its own Service.
            "hairpinMode": true,
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": POD_RANGE, "gateway": NODE_ADDRESS}]],
                "routes": [{"dst": SERVICE_RANGE}],
                "dataDir": state.path("data/cni"),
            },
        }],
    })
}

fn bridge_exists() -> bool {
    Path::new("/sys/class/net").join(NAME).exists()
}

fn tables() -> Vec<&'static str> {
    let exists = |family: &&str| run(Path::new("nft"), &["list", "table", family, "kube-proxy"]).is_ok();
    TABLES.into_iter().filter(exists).collect()
}

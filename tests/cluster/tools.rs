//! The pinned programs, built by tools/build, and those from Debian.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;

use super::cli::Mode;

/// Builds missing programs and returns the directory for PATH. Progress goes to stderr.
pub fn build(mode: Mode) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/tools/build");
    let output = Command::new("bash")
        .arg(&script)
        .arg(mode.word())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(output.status.success(), "cannot build the cluster's programs: see the errors above");
    let text = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(text.lines().last().context("tools/build printed no directory")?))
}

/// Fails with one sentence if this machine cannot run a node.
pub fn check_machine(mode: Mode) -> Result<()> {
    if mode != Mode::Node {
        return Ok(());
    }
    ensure!(
        geteuid().is_root(),
        "a node-mode cluster needs root (for network interfaces and mounts): run as root, or \
         `CLUSTER=current make demo` to use the current kubectl context"
    );
    let missing: Vec<&str> = ["ip", "nft", "mount"].into_iter().filter(|program| find(program).is_none()).collect();
    if !missing.is_empty() || cni_plugins().is_none() {
        bail!(
            "a node-mode cluster needs ip, nft, mount and the CNI plugins: \
             apt-get install -y iproute2 nftables containernetworking-plugins"
        );
    }
    Ok(())
}

/// PATH plus the directories of `ip` and `nft`, which a plain user's PATH lacks.
pub fn system_path() -> String {
    let path = env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin:/usr/bin:/bin")
}

fn find(program: &str) -> Option<PathBuf> {
    system_path().split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.is_file())
}

/// The directory of the distribution's CNI plugins.
pub fn cni_plugins() -> Option<PathBuf> {
    ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"]
        .map(PathBuf::from)
        .into_iter()
        .find(|directory| ["bridge", "host-local", "loopback"].iter().all(|plugin| directory.join(plugin).is_file()))
}

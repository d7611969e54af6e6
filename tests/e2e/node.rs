//! The test cluster's node from within: its container runtime, below the kubelet.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Calls containerd's own client with these words.
///
/// # Errors
/// When it fails, or this is not the test cluster.
pub fn ctr(words: &str) -> Result<()> {
    let cluster = std::env::var("LINKTREE_CLUSTER_DIR").context("this needs the test cluster's node")?;
    let mut ctr = Command::new("ctr");
    ctr.args(["--address", &format!("{cluster}/run/containerd.sock"), "--namespace=k8s.io"]);
    let output = ctr.args(words.split_whitespace()).output()?;
    ensure!(output.status.success(), "ctr {words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

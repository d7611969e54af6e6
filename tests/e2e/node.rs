//! Access to the container runtime of the test cluster's node.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs containerd's client `ctr` with these words.
///
/// # Errors
/// If it fails, or the cluster is not the test cluster.
pub fn ctr(words: &str) -> Result<()> {
    let cluster = std::env::var("LINKTREE_CLUSTER_DIR")
        .context("no test cluster: LINKTREE_CLUSTER_DIR is not set; run `make test-e2e`")?;
    let mut ctr = Command::new("ctr");
    ctr.args(["--address", &format!("{cluster}/run/containerd.sock"), "--namespace=k8s.io"]);
    let output = ctr.args(words.split_whitespace()).output()?;
    ensure!(output.status.success(), "ctr {words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

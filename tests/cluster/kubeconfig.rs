//! kubeconfig files for the programs and for the user.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::pki::{Authority, Pair};

/// Writes a kubeconfig as JSON, which is YAML. It refers to the certificate files, so it is valid on this machine only.
pub fn write(path: &Path, server: &str, authority: &Authority, user: &Pair) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": authority.certificate()}}],
        "users": [{"name": "test", "user": {"client-certificate": user.certificate, "client-key": user.key}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    });
    Ok(fs::write(path, serde_json::to_vec_pretty(&config)?)?)
}

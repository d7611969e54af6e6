//! The public edge in front of a receiver: nginx on this machine, which pods reach as https://NAME.example.com through
//! the Service NAME in the namespace `internet`. It needs the test cluster, whose pods reach this machine.

use std::{
    env, fs,
    net::{IpAddr, TcpListener, TcpStream},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    call::kubectl,
    certificate_authority::{Certificate, CertificateAuthority},
    nginx::Nginx,
    transcript::Transcript,
    wait,
};

/// The ConfigMap in the release's namespace with the CA bundle for edges.
const AUTHORITY: &str = "private-authority";
/// The range of the cluster's Services (tests/cluster/control_plane.rs).
const SERVICES: &str = "10.96.0.0/16";
/// The year in which a valid certificate expires.
pub const YEAR: i32 = 2099;

/// One nginx in front of a receiver.
#[derive(Debug)]
pub struct Edge {
    pub host: String,
    pub authority: CertificateAuthority,
    /// The nginx directives that proxy requests to the receiver.
    pub pass: String,
    pub nginx: Nginx,
}

/// The directory of all edges; `None` in a cluster that the launcher did not start.
fn directory() -> Option<PathBuf> {
    Some(PathBuf::from(env::var_os("LINKTREE_CLUSTER_DIR")?).join("edges"))
}

/// Creates the certificate authority for edges, if the cluster supports edges; returns the Helm flags that trust it.
///
/// # Errors
/// If it cannot be saved or applied to the cluster.
pub fn trust(transcript: Transcript) -> Result<String> {
    let Some(directory) = directory() else { return Ok(String::new()) };
    fs::create_dir_all(&directory)?;
    let certificate = fs::read_to_string(CertificateAuthority::at(&directory)?.root)?;
    let metadata = json!({"name": AUTHORITY, "namespace": "linktree-system"});
    let bundle =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": certificate}});
    transcript.show(&kubectl("apply --filename -").input(bundle.to_string()))?;
    // A pod reaches an edge through a Service of the cluster.
    Ok(format!("--set caBundle.configMap={AUTHORITY} --set egressAllow={{{SERVICES}}}"))
}

/// The error log of each nginx, by the edge's name.
pub fn logs() -> impl Iterator<Item = (String, String)> {
    let edges = directory().and_then(|directory| fs::read_dir(directory).ok());
    edges.into_iter().flatten().flatten().filter_map(|edge| {
        let log = fs::read_to_string(edge.path().join("error.log")).ok()?;
        Some((edge.file_name().to_string_lossy().into_owned(), log))
    })
}

impl Edge {
    /// Opens NAME.example.com in front of the receiver of the webhook links-to-cms in `namespace`; `None` in a cluster
    /// that the launcher did not start.
    ///
    /// # Errors
    /// If nginx cannot be run, or its Service cannot be applied.
    pub fn open(transcript: Transcript, name: &str, namespace: &str) -> Result<Option<Self>> {
        let Some(directory) = directory() else { return Ok(None) };
        let nodes = kubectl("get nodes").json()?;
        let addresses = nodes["items"][0]["status"]["addresses"].as_array().into_iter().flatten();
        let internal = addresses.filter(|it| it["type"] == "InternalIP").find_map(|it| it["address"].as_str());
        let node: IpAddr = internal.context("the node has no InternalIP address")?.parse()?;
        let free = TcpListener::bind((node, 0))?.local_addr()?;
        let host = format!("{name}.example.com");
        let authority = CertificateAuthority::at(&directory)?;
        // By name, resolved again when its DNS record expires: the receiver may not exist yet.
        let pass = format!(
            "resolver {node} ipv6=off; set $receiver links-to-cms-receiver.{namespace}.svc.cluster.local; \
             proxy_pass http://$receiver;"
        );
        transcript.show(&kubectl("apply --filename -").input(service(name, node, free.port())))?;
        let mut edge = Edge { host, authority, nginx: Nginx::new(&directory.join(name), free)?, pass };
        edge.restart(&edge.certificate()?, &edge.pass.clone())?;
        transcript.note(&format!("https://{} is nginx on this machine, with a certificate of {AUTHORITY}", edge.host));
        Ok(Some(edge))
    }

    /// Restarts nginx with this certificate and these directives for every request.
    ///
    /// # Errors
    /// If it does not listen within 20 s.
    pub fn restart(&mut self, certificate: &Certificate, directives: &str) -> Result<()> {
        self.nginx.set_certificate(certificate)?;
        self.nginx.set_directives(directives)?;
        self.nginx.start()?;
        wait::until("nginx listens", 20, || Ok(Some(TcpStream::connect(self.nginx.address)?))).map(drop)
    }

    /// Issues a valid certificate for this edge.
    ///
    /// # Errors
    /// If it cannot be issued.
    pub fn certificate(&self) -> Result<Certificate> {
        self.authority.certify(&self.host, YEAR)
    }
}

/// A Service through which pods reach a port of this machine.
fn service(name: &str, node: IpAddr, port: u16) -> String {
    let metadata = json!({"name": name, "namespace": "internet", "labels": {"kubernetes.io/service-name": name}});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "internet"}});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"ports": [{"name": "https", "port": 443}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
        "ports": [{"name": "https", "port": port}], "endpoints": [{"addresses": [node]}],
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [namespace, service, slice]}).to_string()
}

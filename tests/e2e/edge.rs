//! The edge before a receiver, where Linktree's deliveries come in from an internet of our own: nginx on this machine,
//! which pods find as https://NAME.example.com, the Service NAME of the namespace `internet`. It needs the test cluster,
//! whose pods reach this machine.

use std::{
    env, fs,
    net::{IpAddr, TcpListener, TcpStream},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    authority::{Authority, Certificate},
    call::kubectl,
    narrator::Narrator,
    nginx::Nginx,
    wait,
};

/// The ConfigMap in the release's namespace with the authority that certifies edges.
const AUTHORITY: &str = "private-authority";
/// When a certificate ends that is not to end meanwhile.
pub const YEAR: i32 = 2099;

#[derive(Debug)]
pub struct Edge {
    pub host: String,
    pub authority: Authority,
    /// What has nginx pass requests on to the receiver.
    pub pass: String,
    pub nginx: Nginx,
}

/// Where edges are kept; nowhere in a cluster that is not ours.
fn directory() -> Option<PathBuf> {
    Some(PathBuf::from(env::var_os("LINKTREE_CLUSTER_DIR")?).join("edges"))
}

/// Founds the authority that certifies edges, if there can be any; returns the flags that have a release trust it.
///
/// # Errors
/// When it cannot be written down or told to the cluster.
pub fn trust(narrator: Narrator) -> Result<String> {
    let Some(directory) = directory() else { return Ok(String::new()) };
    fs::create_dir_all(&directory)?;
    let certificate = fs::read_to_string(Authority::at(&directory)?.root)?;
    let metadata = json!({"name": AUTHORITY, "namespace": "linktree-system"});
    let bundle =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": certificate}});
    narrator.show(&kubectl("apply --filename -").input(bundle.to_string()))?;
    Ok(format!("--set probe.caBundle.configMap={AUTHORITY}"))
}

/// What each nginx has complained of, by the edge's name.
pub fn logs() -> impl Iterator<Item = (String, String)> {
    let edges = directory().and_then(|directory| fs::read_dir(directory).ok());
    edges.into_iter().flatten().flatten().filter_map(|edge| {
        let log = fs::read_to_string(edge.path().join("error.log")).ok()?;
        Some((edge.file_name().to_string_lossy().into_owned(), log))
    })
}

impl Edge {
    /// Opens NAME.example.com before the receiver of the webhook links-to-cms in `namespace`; none in a cluster that is
    /// not ours.
    ///
    /// # Errors
    /// When nginx cannot be run, or pods cannot be led to it.
    pub fn open(narrator: Narrator, name: &str, namespace: &str) -> Result<Option<Self>> {
        let Some(directory) = directory() else { return Ok(None) };
        let nodes = kubectl("get nodes").json()?;
        let addresses = nodes["items"][0]["status"]["addresses"].as_array().into_iter().flatten();
        let internal = addresses.filter(|it| it["type"] == "InternalIP").find_map(|it| it["address"].as_str());
        let node: IpAddr = internal.context("the node has an address")?.parse()?;
        let free = TcpListener::bind((node, 0))?.local_addr()?;
        let host = format!("{name}.example.com");
        let authority = Authority::at(&directory)?;
        // By its name, which is looked up again as often as DNS has it: the receiver need not be there yet.
        let pass = format!(
            "resolver {node} ipv6=off; set $receiver links-to-cms-receiver.{namespace}.svc.cluster.local; \
             proxy_pass http://$receiver;"
        );
        narrator.show(&kubectl("apply --filename -").input(way(name, node, free.port())))?;
        let mut edge = Edge { host, authority, nginx: Nginx::new(&directory.join(name), free)?, pass };
        edge.turn(&edge.certificate()?, &edge.pass.clone())?;
        narrator.say(&format!("https://{} is nginx on this machine, with a certificate of {AUTHORITY}", edge.host));
        Ok(Some(edge))
    }

    /// Starts it anew: it shows this certificate, and does this with every request.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn turn(&mut self, certificate: &Certificate, directives: &str) -> Result<()> {
        self.nginx.show(certificate)?;
        self.nginx.answer(directives)?;
        self.nginx.start()?;
        wait::until("nginx listens", 20, || Ok(Some(TcpStream::connect(self.nginx.address)?))).map(drop)
    }

    /// A certificate that is right for it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn certificate(&self) -> Result<Certificate> {
        self.authority.certify(&self.host, YEAR)
    }
}

/// The Service by which pods find a port of this machine.
fn way(name: &str, node: IpAddr, port: u16) -> String {
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

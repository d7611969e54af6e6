//! The API server's own count of what it was asked, as far as the operator asks it.

use anyhow::{Context, Result};
use kube::Client;

/// What the operator writes. Leases are not among it: to hold one is to write it.
const WRITTEN: [&str; 10] = [
    "linktreewebhooks",
    "linktreeconnections",
    "secrets",
    "services",
    "serviceaccounts",
    "statefulsets",
    "networkpolicies",
    "pods",
    "events",
    "persistentvolumeclaims",
];

/// Requests so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) reads: f64,
    pub(crate) writes: f64,
}

impl Requests {
    /// All there were of the kinds the operator has to do with, whoever made them.
    pub(crate) async fn so_far(client: &Client) -> Result<Self> {
        let metrics = client.request_text(http::Request::get("/metrics").body(Vec::new())?).await?;
        let mut requests = Requests::default();
        for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |name: &str| {
                let (_, rest) = line.split_once(&format!("{name}=\""))?;
                rest.split_once('"').map(|(value, _)| value)
            };
            if !label("resource").is_some_and(|resource| WRITTEN.contains(&resource)) {
                continue;
            }
            let (_, count) = line.rsplit_once(' ').context("a metric without a value")?;
            let count: f64 = count.parse()?;
            match label("verb").context("a metric without a verb")? {
                "GET" | "LIST" => requests.reads += count,
                "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION" => requests.writes += count,
                _ => {}
            }
        }
        Ok(requests)
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Requests { reads: self.reads - earlier.reads, writes: self.writes - earlier.writes }
    }
}

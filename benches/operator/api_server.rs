//! The API server's request counts for the operator's kinds.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::Client;

/// The kinds that the operator writes, except leases, which it renews all the time.
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) reads: f64,
    /// Writes by verb, resource and status: `PATCH linktreewebhooks/status 200`.
    writes: BTreeMap<String, f64>,
}

impl Requests {
    /// Reads the counts for the operator's kinds, of all clients.
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
                verb @ ("POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION") => {
                    let [resource, part, code] = ["resource", "subresource", "code"].map(|it| label(it).unwrap_or("?"));
                    let what = format!("{verb} {resource}/{part} {code}");
                    *requests.writes.entry(what).or_default() += count;
                }
                _ => {}
            }
        }
        Ok(requests)
    }

    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        self.reads -= earlier.reads;
        self.writes.iter_mut().for_each(|(what, count)| *count -= earlier.writes.get(what).unwrap_or(&0.0));
        self.writes.retain(|_, count| *count > 0.0);
        self
    }

    pub(crate) fn writes(&self) -> f64 {
        // An empty sum would be -0.
        self.writes.values().fold(0.0, |sum, count| sum + count)
    }

    /// The writes with their counts, or `nothing`.
    pub(crate) fn written(&self) -> String {
        let each: Vec<String> = self.writes.iter().map(|(what, count)| format!("{what} ({count} times)")).collect();
        if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
    }
}

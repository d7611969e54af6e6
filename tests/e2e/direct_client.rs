//! Deliveries without the simulator: signed here and sent to the receiver's Service.

use std::time::Duration;

use anyhow::{Context, Result};
use linktree_operator::{
    clock,
    linktree::{
        headers::{DELIVERY_ID, SIGNATURE, SentAt, TIMESTAMP},
        secret::Secret,
        signature::Signature,
    },
};
use reqwest::Client;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::{harness::Harness, port_forward::PortForward};

/// A sender of signed deliveries to one receiver.
#[derive(Debug)]
pub struct DirectClient {
    runtime: Runtime,
    client: Client,
    forward: PortForward,
    path: String,
    secret: Secret,
}

impl DirectClient {
    /// Connects to the harness's receiver, with the signing secret of its subscription.
    ///
    /// # Errors
    /// If there is no receiver yet.
    pub fn new(harness: &mut Harness) -> Result<Self> {
        let id = harness.field(".status.subscription.id")?;
        let state = harness.simulator.get("/state?secrets=true")?;
        let mut all = state["subscriptions"].as_array().into_iter().flatten();
        let subscription = all.find(|it| it["id"] == id).with_context(|| format!("Linktree has no {id:?}"))?;
        let secret = subscription["signing_secret"].as_str().context("the subscription has no secret")?;
        let url = harness.field(".status.address.url")?;
        let path = url.find("/h/").map(|start| url[start..].to_owned()).with_context(|| format!("no path in {url}"))?;
        Ok(DirectClient {
            runtime: Builder::new_current_thread().enable_all().build()?,
            client: Client::builder().timeout(Duration::from_secs(30)).no_proxy().build()?,
            forward: PortForward::start(&format!("--namespace={} service/links-to-cms-receiver :80", harness.name))?,
            path,
            secret: Secret::new(secret),
        })
    }

    /// Signs and sends a delivery; returns the status and the body of the response.
    ///
    /// # Errors
    /// If there is no response.
    pub fn deliver(&self, id: &str, event: &Value) -> Result<(u16, String)> {
        let body = event.to_string();
        let sent_at = SentAt::from_seconds(clock::now().as_second()).context("the current time is out of range")?;
        let signature = Signature::sign(&self.secret, &sent_at, body.as_bytes());
        let request = self
            .client
            .post(format!("http://127.0.0.1:{}{}", self.forward.port(), self.path))
            .header("content-type", "application/json")
            .header(DELIVERY_ID, id)
            .header(TIMESTAMP, sent_at.as_str())
            .header(SIGNATURE, signature.to_hex())
            .body(body);
        self.runtime.block_on(async {
            let response = request.send().await?;
            Ok((response.status().as_u16(), response.text().await?))
        })
    }
}

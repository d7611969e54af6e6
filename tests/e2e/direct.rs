//! Deliveries that no simulator makes up: signed here and posted to the receiver's Service.

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

use crate::{forward::Forward, place::Place};

#[derive(Debug)]
pub struct Direct {
    runtime: Runtime,
    client: Client,
    forward: Forward,
    path: String,
    secret: Secret,
}

impl Direct {
    /// The way to a place's receiver, with the secret that Linktree signs with.
    ///
    /// # Errors
    /// When there is no receiver yet.
    pub fn new(place: &mut Place) -> Result<Self> {
        let id = place.field(".status.subscription.id")?;
        let state = place.simulator.get("/state?secrets=true")?;
        let mut all = state["subscriptions"].as_array().into_iter().flatten();
        let subscription = all.find(|it| it["id"] == id).with_context(|| format!("Linktree has no {id:?}"))?;
        let secret = subscription["signing_secret"].as_str().context("it has a secret")?;
        let url = place.field(".status.address.url")?;
        let path = url.find("/h/").map(|start| url[start..].to_owned()).with_context(|| format!("no path in {url}"))?;
        Ok(Direct {
            runtime: Builder::new_current_thread().enable_all().build()?,
            client: Client::builder().timeout(Duration::from_secs(30)).no_proxy().build()?,
            forward: Forward::start(&format!("--namespace={} service/links-to-cms-receiver :80", place.name))?,
            path,
            secret: Secret::new(secret),
        })
    }

    /// Signs and delivers; the status and the body of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn deliver(&self, id: &str, event: &Value) -> Result<(u16, String)> {
        let body = event.to_string();
        let sent_at = SentAt::from_seconds(clock::now().as_second()).context("now can be written")?;
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

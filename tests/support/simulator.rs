//! The Linktree simulator in this process, with a client of its control port.

use std::time::Duration;

use clap::Parser;
use linktree_operator::{
    egress::outbound::Outbound,
    linktree::{
        client::{HttpLinktree, Transport},
        secret::Secret,
    },
    simulator::{Args, Running, start},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

/// The client's timeout per call; the `delay` fault is longer.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// A running simulator. Stopped on drop.
pub struct Simulator {
    running: Running,
    http: reqwest::Client,
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: Args,
}

impl Simulator {
    pub async fn start(args: &[&str]) -> Self {
        let fixed = ["simulator", "--api-port=0", "--control-port=0", "--token=lt_test_demo"];
        let args = CommandLine::parse_from(fixed.iter().chain(args)).args;
        let running = start(&args, CancellationToken::new()).await.unwrap();
        Simulator { running, http: reqwest::Client::new() }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.running.api)
    }

    /// The operator's client with this token.
    pub fn client(&self, token: &str) -> HttpLinktree {
        let base = Url::parse(&self.base_url()).unwrap();
        HttpLinktree::new(&Transport::new(Outbound::default()).unwrap(), base, &Secret::new(token), DEADLINE).unwrap()
    }

    /// Calls a control endpoint; panics if it fails.
    pub async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("http://{}{path}", self.running.control);
        let mut request = self.http.request(method.parse().unwrap(), url);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    pub async fn state(&self) -> Value {
        self.control("GET", "/state?secrets=true", Value::Null).await
    }

    pub async fn advance(&self, seconds: u64) -> Value {
        self.control("POST", "/advance", json!({"seconds": seconds})).await
    }
}

//! The simulated Linktree's control port, reached through a port-forward that is started anew when it broke. What it
//! answers is read into small types of our own: the tests look at it from outside.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::forward::Forward;

/// Longer than the simulator takes for 72 hours of retries to a receiver that is not there.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where its control port is.
const CONTROL: &str = "--namespace=linktree-system service/linktree-simulator :8082";

/// What the simulator knows.
#[derive(Debug, Deserialize)]
pub struct State {
    pub subscriptions: Vec<Subscription>,
    pub deliveries: Vec<Delivery>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Subscription {
    pub id: String,
    pub url: String,
    pub status: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Delivery {
    pub id: String,
    pub state: String,
    pub attempts: Vec<Attempt>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Attempt {
    pub answer: Answer,
}

/// A receiver's answer, or the problem why there is none.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    pub status: Option<u16>,
    pub body: Option<String>,
    pub problem: Option<String>,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status, &self.problem) {
            (Some(status), _) => {
                // An edge's own page has many lines.
                let words: Vec<_> = self.body.as_deref().unwrap_or_default().split_whitespace().collect();
                write!(f, "{status} {}", words.join(" "))
            }
            (None, problem) => write!(f, "no answer: {}", problem.as_deref().unwrap_or("unknown")),
        }
    }
}

/// The control port.
#[derive(Debug)]
pub struct Simulator {
    runtime: Runtime,
    client: Client,
    forward: Option<Forward>,
}

impl Simulator {
    /// One that is connected to when it is first asked.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new() -> Result<Self> {
        // Each request has a connection of its own: an idle one does not tell that the port-forward behind it broke.
        let client = Client::builder().timeout(TIMEOUT).pool_max_idle_per_host(0).no_proxy().build()?;
        Ok(Simulator { runtime: Builder::new_current_thread().enable_all().build()?, client, forward: None })
    }

    /// # Errors
    /// When it cannot be reached, or answers something else.
    pub fn state(&mut self) -> Result<State> {
        Ok(serde_json::from_value(self.get("/state")?)?)
    }

    /// # Errors
    /// As [`Simulator::state`].
    pub fn get(&mut self, path: &str) -> Result<Value> {
        self.ask(&Method::GET, path, None)
    }

    /// # Errors
    /// As [`Simulator::state`].
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.ask(&Method::POST, path, Some(body))
    }

    /// # Errors
    /// As [`Simulator::state`].
    pub fn patch(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.ask(&Method::PATCH, path, Some(body))
    }

    /// # Errors
    /// As [`Simulator::state`].
    pub fn delete(&mut self, path: &str) -> Result<Value> {
        self.ask(&Method::DELETE, path, None)
    }

    /// Lets hours pass at once; the answer tells what fell due on the way.
    ///
    /// # Errors
    /// As [`Simulator::state`].
    pub fn advance(&mut self, seconds: u64) -> Result<Value> {
        self.post("/advance", &json!({ "seconds": seconds }))
    }

    fn ask(&mut self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let first = self.try_once(method, path, body);
        // What only looks may be asked again; for anything else it is not known whether it took effect.
        if first.is_err() && *method == Method::GET {
            self.forward = None;
            return self.try_once(method, path, body);
        }
        first
    }

    fn try_once(&mut self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value> {
        if self.forward.as_mut().is_none_or(Forward::is_over) {
            self.forward = Some(Forward::start(CONTROL)?);
        }
        let port = self.forward.as_ref().map(Forward::port).context("there is a port-forward now")?;
        let mut request = self.client.request(method.clone(), format!("http://127.0.0.1:{port}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, text) = self.runtime.block_on(async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.text().await?))
        })?;
        if !status.is_success() {
            bail!("the simulator answers {method} {path} with {status}: {text}");
        }
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }
}

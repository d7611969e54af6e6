//! Client of the simulated Linktree's control port, through a port-forward that is restarted when it breaks. Responses
//! are parsed into types of the tests, independent of the simulator's code.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::port_forward::PortForward;

/// Longer than the simulator takes for 72 hours of retries to an unreachable receiver.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The words of `kubectl port-forward` for the control port.
const CONTROL: &str = "--namespace=linktree-system service/linktree-simulator :8082";

/// The simulator's state.
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

/// A receiver's response, or the reason why there is none.
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
                // An error page of an edge has many lines.
                let words: Vec<_> = self.body.as_deref().unwrap_or_default().split_whitespace().collect();
                write!(f, "{status} {}", words.join(" "))
            }
            (None, problem) => write!(f, "no response: {}", problem.as_deref().unwrap_or("unknown")),
        }
    }
}

/// A client of the control port.
#[derive(Debug)]
pub struct Simulator {
    runtime: Runtime,
    client: Client,
    forward: Option<PortForward>,
}

impl Simulator {
    /// Creates a client that connects on its first request.
    ///
    /// # Errors
    /// If no HTTP client can be created.
    pub fn new() -> Result<Self> {
        // One connection per request: an idle one does not show that its port-forward broke.
        let client = Client::builder().timeout(TIMEOUT).pool_max_idle_per_host(0).no_proxy().build()?;
        Ok(Simulator { runtime: Builder::new_current_thread().enable_all().build()?, client, forward: None })
    }

    /// Reads the state.
    ///
    /// # Errors
    /// If the simulator is unreachable, or its response is an error or cannot be parsed.
    pub fn state(&mut self) -> Result<State> {
        Ok(serde_json::from_value(self.get("/state")?)?)
    }

    /// # Errors
    /// As [`Simulator::state`].
    pub fn get(&mut self, path: &str) -> Result<Value> {
        self.request(&Method::GET, path, None)
    }

    /// # Errors
    /// As [`Simulator::state`].
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.request(&Method::POST, path, Some(body))
    }

    /// # Errors
    /// As [`Simulator::state`].
    pub fn patch(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.request(&Method::PATCH, path, Some(body))
    }

    /// # Errors
    /// As [`Simulator::state`].
    pub fn delete(&mut self, path: &str) -> Result<Value> {
        self.request(&Method::DELETE, path, None)
    }

    /// Advances Linktree's clock; the response lists everything that came due.
    ///
    /// # Errors
    /// As [`Simulator::state`].
    pub fn advance(&mut self, seconds: u64) -> Result<Value> {
        self.post("/advance", &json!({ "seconds": seconds }))
    }

    fn request(&mut self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let first = self.try_once(method, path, body);
        // Only a GET may be retried; any other request may have taken effect.
        if first.is_err() && *method == Method::GET {
            self.forward = None;
            return self.try_once(method, path, body);
        }
        first
    }

    fn try_once(&mut self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value> {
        if self.forward.as_mut().is_none_or(PortForward::has_exited) {
            self.forward = Some(PortForward::start(CONTROL)?);
        }
        let port = self.forward.as_ref().map(PortForward::port).context("there is no port-forward")?;
        let mut request = self.client.request(method.clone(), format!("http://127.0.0.1:{port}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, text) = self.runtime.block_on(async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.text().await?))
        })?;
        if !status.is_success() {
            bail!("the simulator answered {method} {path} with {status}: {text}");
        }
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }
}

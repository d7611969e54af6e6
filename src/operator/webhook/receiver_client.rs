//! Asks a receiver for its status: pulled by the operator, since the receiver holds no Kubernetes credentials.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;

use crate::{
    linktree::secret::Secret,
    route::{ADMIN_PORT, status::ReceiverStatus},
};

/// How long a receiver may take; it is in the same cluster.
const DEADLINE: Duration = Duration::from_secs(2);
/// The largest status that is read: 16 sinks take about 5 KiB.
const ANSWER_MAX: usize = 256 * 1024;

/// The way to the receivers.
#[async_trait]
pub trait Receivers: Send + Sync {
    /// The status of the receiver at `address`; `None` if it does not tell, for whatever reason.
    async fn status(&self, address: IpAddr, admin_token: &Secret) -> Option<ReceiverStatus>;
}

#[derive(Clone, Debug)]
pub struct ReceiverClient(reqwest::Client);

impl ReceiverClient {
    /// # Errors
    /// When the machine has no usable TLS set-up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(DEADLINE)
            // Ten thousand connections that idle until the next look would take more memory than all else.
            .pool_max_idle_per_host(0);
        client.build().map(ReceiverClient)
    }
}

#[async_trait]
impl Receivers for ReceiverClient {
    async fn status(&self, address: IpAddr, admin_token: &Secret) -> Option<ReceiverStatus> {
        let url = match address {
            IpAddr::V4(address) => format!("http://{address}:{ADMIN_PORT}/status"),
            IpAddr::V6(address) => format!("http://[{address}]:{ADMIN_PORT}/status"),
        };
        let request = self.0.get(url).bearer_auth(admin_token.expose());
        let mut answer = request.send().await.ok()?.error_for_status().ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                return None;
            }
        }
        serde_json::from_slice(&body).ok()
    }
}

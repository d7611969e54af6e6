//! The contract between operator and receiver: the operator renders the route file, and the receiver loads it, reloads
//! it on change, and reports its [`status`]. Both sides have the same version, because they run from one image.
//!
//! A [`Route`] contains secrets (signing keys, sink credentials, the admin token). It is therefore stored in a
//! Kubernetes Secret that is mounted as a file, and its `Debug` output shows none of them.

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::sink::{BacklogPolicy, Format, Ordering, Retry, Sink, SinkUrl, TemplateSource};
use crate::linktree::secret::Secret;

pub mod cloudevent;
pub mod complexity;
pub mod credentials;
mod deep_stack;
mod expression;
pub mod filter;
pub mod journal;
pub mod proof;
pub mod redrive;
pub mod sink;
pub mod status;
pub mod success;
pub mod template;

/// The route file's name: the key in the mounted Secret.
pub const FILE: &str = "route.json";
/// The port for deliveries.
pub const DELIVERY_PORT: u16 = 8080;
/// The port for probes, metrics and the authenticated status; it is never exposed publicly.
pub const ADMIN_PORT: u16 = 9090;
/// The header, with value `1`, of every response on a route's path. The operator's probe sends an unsigned request to
/// the public URL and accepts a 401 as the receiver's own only with this header and [`UNSIGNED_ANSWER`] as its body, so
/// that a 401 of an ingress or a login page does not count; [`proof`] shows that it is not another receiver's. A request
/// with this header is a probe, and is not counted as a delivery without signature.
pub const RECEIVER_HEADER: &str = "x-linktree-receiver";
/// The body of the 401 to a request without signature or timestamp (Linktree's documentation, "Verify signatures").
pub const UNSIGNED_ANSWER: &str = "Missing signature";
/// The file of the certificate chain, named as in a Secret of type `kubernetes.io/tls`.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The file of the private key, named as in a Secret of type `kubernetes.io/tls`.
pub const CERTIFICATE_KEY_FILE: &str = "tls.key";
/// The version of this contract. A receiver rejects a file of another version.
pub const VERSION: u32 = 1;

/// The configuration of one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    pub version: u32,
    /// `namespace/name` of the `LinktreeWebhook`; the receiver uses it in logs and as the CloudEvents source.
    pub webhook: WebhookName,
    /// The URL path that Linktree's deliveries are sent to, `/h/…`.
    pub path: String,
    /// The bearer token for `/status` on the admin port.
    pub admin_token: Secret,
    /// The key of the [`proof`] with which the receiver answers the operator's probes. It serves nothing else.
    pub probe_key: Secret,
    /// Signing keys; the first is the current one. Empty while the secret is not known: every delivery is then answered
    /// 503 instead of 403, so that Linktree retries it.
    pub keys: Vec<Key>,
    /// Largest accepted difference between a delivery's timestamp and now, in the past or in the future; the policy
    /// below may accept an older delivery.
    pub timestamp_tolerance_seconds: u32,
    pub stale_delivery_policy: StaleDeliveryPolicy,
    /// How long the journal remembers a delivery to detect duplicates of it.
    pub deduplication_window_seconds: u64,
    /// Time that an event stays in the journal after all sinks have settled it.
    pub retention_seconds: u64,
    /// Time that a dead letter stays in the journal, from when it became one.
    #[serde(default = "dead_letter_retention_seconds")]
    pub dead_letter_retention_seconds: u64,
    /// Largest size of the journal. Beyond it, new deliveries are answered 503.
    pub capacity_bytes: u64,
    pub max_body_bytes: u64,
    /// Names of JSON fields whose values are never stored.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub redact_fields: BTreeSet<String>,
    pub sinks: Vec<Sink>,
    /// Whether events are forwarded to the sinks now.
    #[serde(default, skip_serializing_if = "Forwarding::is_on")]
    pub forwarding: Forwarding,
}

/// 30 days: the default of the API.
fn dead_letter_retention_seconds() -> u64 {
    2_592_000
}

/// Whether events are forwarded to the sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarding {
    #[default]
    On,
    /// Events are stored, and forwarded once forwarding is no longer paused.
    Paused,
}

impl Forwarding {
    #[must_use]
    pub fn is_on(&self) -> bool {
        match self {
            Forwarding::On => true,
            Forwarding::Paused => false,
        }
    }
}

/// How a correctly signed delivery that is older than the tolerance is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StaleDeliveryPolicy {
    /// It is rejected.
    Reject,
    /// It is accepted, unless it is a duplicate or too old for a duplicate to be detected.
    AcceptOnce,
}

/// The `LinktreeWebhook` that a route belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookName {
    pub namespace: String,
    pub name: String,
}

/// A named signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    pub name: String,
    pub secret: Secret,
}

/// The reason why a route file is rejected; the receiver keeps the last valid one. It never contains the file's
/// content.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("cannot read the route file: {0}")]
    Read(#[from] std::io::Error),
    #[error("the route file does not have the format of this version (line {line}, column {column})")]
    Parse { line: usize, column: usize },
    #[error("the route file has version {found}, but this receiver reads version {VERSION}")]
    Version { found: u32 },
    #[error("the route's sink {name} is invalid: {problem}")]
    Sink { name: String, problem: String },
}

impl Route {
    /// Reads and checks a route file.
    ///
    /// # Errors
    /// If the file cannot be read, is not JSON of this shape, or has another version.
    pub fn load(file: &Path) -> Result<Self, RouteError> {
        Route::parse(&std::fs::read(file)?)
    }

    /// Reads and checks the bytes of a route file.
    ///
    /// # Errors
    /// If they are not JSON of this shape, or have another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, RouteError> {
        // serde's message may quote a value, and values here are secrets, so only the position is reported.
        let route: Route = serde_json::from_slice(bytes)
            .map_err(|error| RouteError::Parse { line: error.line(), column: error.column() })?;
        if route.version == VERSION { Ok(route) } else { Err(RouteError::Version { found: route.version }) }
    }

    /// Renders the route file. The same route always renders to the same bytes.
    ///
    /// # Errors
    /// Never for values of this type; the serializer's signature requires the result.
    pub fn render(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// The digest of a route file. The receiver reports the digest of the route that it has loaded, so that the
    /// operator notices when a change has arrived. The random admin token is part of the input, so the digest cannot be
    /// used to test guesses of another secret.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> String {
        hex::encode(&Sha256::digest(bytes)[..16])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use url::Url;

    use super::*;

    /// A route for tests, with one key and one sink.
    pub(crate) fn route() -> Route {
        Route {
            version: VERSION,
            webhook: WebhookName { namespace: "marketing".into(), name: "links".into() },
            path: "/h/abc".into(),
            admin_token: Secret::new("admin"),
            probe_key: Secret::new("probe-secret"),
            keys: vec![Key { name: "k1".into(), secret: Secret::new("s3cret") }],
            timestamp_tolerance_seconds: 300,
            stale_delivery_policy: StaleDeliveryPolicy::Reject,
            deduplication_window_seconds: 604_800,
            retention_seconds: 604_800,
            dead_letter_retention_seconds: 2_592_000,
            capacity_bytes: 1 << 30,
            max_body_bytes: 262_144,
            redact_fields: BTreeSet::from(["ip_address".into()]),
            sinks: vec![Sink::new("cms", Url::parse("http://127.0.0.1:1/in").unwrap())],
            forwarding: Forwarding::On,
        }
    }

    #[test]
    fn a_rendered_route_parses_to_the_same_route() {
        let bytes = route().render().unwrap();
        assert_eq!(Route::parse(&bytes).unwrap(), route());
        assert_eq!(Route::digest(&bytes), Route::digest(&route().render().unwrap()));
    }

    #[test]
    fn an_invalid_file_is_rejected_without_quoting_it() {
        let text = String::from_utf8(route().render().unwrap()).unwrap();
        let broken = text.replace("\"s3cret\"", "s3cret");
        let error = Route::parse(broken.as_bytes()).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        let other = text.replace("\"version\": 1", "\"version\": 2");
        assert!(matches!(Route::parse(other.as_bytes()), Err(RouteError::Version { found: 2 })));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let mut route = route();
        route.sinks[0] = Sink::new("chat", "https://chat.example/hooks/t0ken".parse().unwrap());
        let shown = format!("{route:?}");
        assert!(shown.contains("https://chat.example/…") && !shown.contains("t0ken"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("admin\""), "{shown}");
    }
}

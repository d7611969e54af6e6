//! The contract between operator and receiver: the operator renders the route file, the receiver loads and hot-reloads
//! it; what the receiver tells back is [`status`]. Both sides are of one version, since they are one image.
//!
//! A [`Route`] holds secrets (signing keys, sink credentials, the admin token), so it lives in a Kubernetes Secret, is
//! mounted as a file, and its `Debug` shows none of them.

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::sink::{Format, Ordering, Retry, Sink, SinkUrl, TemplateSource};
use crate::linktree::secret::Secret;

pub mod cloudevent;
mod deep_stack;
pub mod filter;
pub mod journal;
pub mod sink;
pub mod status;
pub mod template;

/// The file's name inside the mounted Secret.
pub const FILE: &str = "route.json";
/// The port deliveries arrive at.
pub const DELIVERY_PORT: u16 = 8080;
/// The port for probes, metrics and the authenticated status; never publicly routed.
pub const ADMIN_PORT: u16 = 9090;
/// The header, with value `1`, that every answer on a route's path carries. The operator's outside-in probe sends an
/// unsigned request to the public URL and takes a 401 for the receiver's own only with this header and
/// [`UNSIGNED_ANSWER`] as its body: not an ingress's, a login page's or another receiver's. A request that bears it, too,
/// is a probe, and not counted as a delivery that somebody forgot to sign.
pub const RECEIVER_HEADER: &str = "x-linktree-receiver";
/// The body of the 401 to a request without signature or timestamp (the page, "Verify signatures").
pub const UNSIGNED_ANSWER: &str = "Missing signature";
/// The two files of a certificate, as a Secret of type `kubernetes.io/tls` has them.
pub const CERTIFICATE_FILE: &str = "tls.crt";
pub const CERTIFICATE_KEY_FILE: &str = "tls.key";
/// The version of this contract. A receiver refuses a file of another one.
pub const VERSION: u32 = 1;

/// Everything one receiver needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    pub version: u32,
    /// `namespace/name` of the `LinktreeWebhook`; the receiver uses it in logs and as the CloudEvents source.
    pub webhook: WebhookName,
    /// The path deliveries are posted to, `/h/…`.
    pub path: String,
    /// What the admin port's `/status` asks for as a bearer token.
    pub admin_token: Secret,
    /// Signing keys; the first is the current one. Empty while the secret is not known: every delivery is then
    /// answered 503, so that Linktree tries again, rather than 403.
    pub keys: Vec<Key>,
    /// A delivery signed longer ago, or further ahead, is refused, but for what the policy says.
    pub timestamp_tolerance_seconds: u32,
    pub stale_delivery_policy: StaleDeliveryPolicy,
    /// How long a delivery is remembered, so that it is not taken twice.
    pub deduplication_window_seconds: u64,
    /// How long a delivered event stays in the journal.
    pub retention_seconds: u64,
    /// How large the journal may grow before new deliveries are answered 503.
    pub capacity_bytes: u64,
    pub max_body_bytes: u64,
    /// Names of JSON fields whose values are never kept.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub redact_fields: BTreeSet<String>,
    pub sinks: Vec<Sink>,
    /// Whether events are sent to the sinks now.
    #[serde(default, skip_serializing_if = "Forwarding::is_on")]
    pub forwarding: Forwarding,
}

/// Whether events are sent to the sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarding {
    #[default]
    On,
    /// They are kept, and go out later.
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

/// What becomes of a delivery that a key signed, but longer ago than the tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StaleDeliveryPolicy {
    /// It is refused.
    Reject,
    /// It is accepted if it has not come before, and is so young that it would still be remembered if it had.
    AcceptOnce,
}

/// Which webhook a route serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookName {
    pub namespace: String,
    pub name: String,
}

/// A signing key under the name people know it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    pub name: String,
    pub secret: Secret,
}

/// Why a route file is not used. The receiver keeps the last good one. Never shows the file's content.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("cannot read the route file: {0}")]
    Read(#[from] std::io::Error),
    #[error("the route file is not what this version expects (line {line}, column {column})")]
    Parse { line: usize, column: usize },
    #[error("the route file has version {found}, this receiver reads version {VERSION}")]
    Version { found: u32 },
    #[error("the route's sink {name} cannot be used: {problem}")]
    Sink { name: String, problem: String },
}

impl Route {
    /// Reads and checks a route file.
    ///
    /// # Errors
    /// When it cannot be read, is not JSON of this shape, or is of another version.
    pub fn load(file: &Path) -> Result<Self, RouteError> {
        Route::parse(&std::fs::read(file)?)
    }

    /// Reads and checks the bytes of a route file.
    ///
    /// # Errors
    /// When they are not JSON of this shape, or of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, RouteError> {
        // serde's own message may quote a value, and values here are secrets: only the position is passed on.
        let route: Route = serde_json::from_slice(bytes)
            .map_err(|error| RouteError::Parse { line: error.line(), column: error.column() })?;
        if route.version == VERSION { Ok(route) } else { Err(RouteError::Version { found: route.version }) }
    }

    /// The file's bytes; the same route always renders to the same bytes.
    ///
    /// # Errors
    /// Never for values of this type; the serializer's signature asks for it.
    pub fn render(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// Names this exact route: the receiver reports the digest it has loaded, so the operator sees when a change has
    /// arrived. The random admin token is part of what is digested, so no secret can be guessed from it.
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
            keys: vec![Key { name: "k1".into(), secret: Secret::new("s3cret") }],
            timestamp_tolerance_seconds: 300,
            stale_delivery_policy: StaleDeliveryPolicy::Reject,
            deduplication_window_seconds: 604_800,
            retention_seconds: 604_800,
            capacity_bytes: 1 << 30,
            max_body_bytes: 262_144,
            redact_fields: BTreeSet::from(["ip_address".into()]),
            sinks: vec![Sink::new("cms", Url::parse("http://127.0.0.1:1/in").unwrap())],
            forwarding: Forwarding::On,
        }
    }

    #[test]
    fn a_rendered_route_is_read_back_as_it_was() {
        let bytes = route().render().unwrap();
        assert_eq!(Route::parse(&bytes).unwrap(), route());
        assert_eq!(Route::digest(&bytes), Route::digest(&route().render().unwrap()));
    }

    #[test]
    fn a_bad_file_is_refused_without_quoting_it() {
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

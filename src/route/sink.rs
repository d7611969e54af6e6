//! The sinks of a route: the part of the route file that configures the forwarding to each sink.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::linktree::{event::EventType, secret::Secret};

/// A destination for verified events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sink {
    pub name: String,
    /// The URL to send to; `None` while a Kubernetes object that the sink refers to is missing: its events then wait in
    /// the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<SinkUrl>,
    /// The token to send as `Authorization: Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Secret>,
    /// The secret for signing requests as defined by Standard Webhooks. `None`: requests are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<Secret>,
    /// The event types this sink wants; empty means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub events: BTreeSet<EventType>,
    /// A CEL expression that selects some of those events: see [`super::filter`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// A CEL expression that a 2xx response must satisfy: see [`super::success`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_condition: Option<String>,
    #[serde(default)]
    pub format: Format,
    #[serde(default)]
    pub ordering: Ordering,
    pub timeout_seconds: u32,
    pub retry: Retry,
    #[serde(default)]
    pub backlog_policy: BacklogPolicy,
}

/// A URL that may be a credential, such as a chat's incoming webhook. `Debug` shows only scheme, host and port.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SinkUrl(Url);

impl SinkUrl {
    #[must_use]
    pub fn new(url: Url) -> Self {
        SinkUrl(url)
    }

    /// Returns the URL itself, to connect to it.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for SinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SinkUrl({}/…)", self.0.origin().ascii_serialization())
    }
}

/// The format of the requests to a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Format {
    /// CloudEvents 1.0, binary mode: attributes in headers, the delivery's body unchanged.
    #[default]
    CloudEvent,
    /// CloudEvents 1.0, structured mode: one JSON object with the delivery's body as `data`.
    CloudEventStructured,
    /// Only the delivery's body, unchanged.
    Raw,
    /// The body that the template renders.
    Template(TemplateSource),
}

/// The source of a template; it compiles to a [`super::template::Template`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateSource {
    pub body: String,
    pub content_type: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// The order in which a sink's events are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ordering {
    /// Events are sent concurrently: a failed event does not delay others.
    #[default]
    None,
    /// Events are sent one at a time for each link or profile: an event waits until the previous one is delivered or a
    /// dead letter.
    ByResource,
}

/// The fate of a sink's undelivered events when the journal is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BacklogPolicy {
    /// They stay: new deliveries are answered 503.
    #[default]
    Refuse,
    /// This sink's dead letters, then its oldest waiting events, are given up.
    DropOldest,
}

/// Retries of a failed event: after `delay * 2^n`, at most `max_delay`, with jitter. An event that fails for
/// `give_up_after`, while the sink takes others, becomes a dead letter, which stays in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    pub give_up_after_seconds: u32,
    pub delay_seconds: u32,
    pub max_delay_seconds: u32,
}

impl Default for Retry {
    /// The defaults that the custom resource documents.
    fn default() -> Self {
        Retry { give_up_after_seconds: 604_800, delay_seconds: 2, max_delay_seconds: 300 }
    }
}

impl Retry {
    /// The longest delay between two attempts.
    #[must_use]
    pub fn longest_seconds(&self) -> u32 {
        self.max_delay_seconds.max(self.delay_seconds)
    }
}

impl Sink {
    /// Creates a sink at `url` with the defaults that the custom resource documents.
    #[must_use]
    pub fn new(name: &str, url: Url) -> Self {
        Sink {
            name: name.to_owned(),
            url: Some(SinkUrl::new(url)),
            bearer: None,
            signing_secret: None,
            events: BTreeSet::new(),
            filter: None,
            success_condition: None,
            format: Format::default(),
            ordering: Ordering::default(),
            timeout_seconds: 10,
            retry: Retry::default(),
            backlog_policy: BacklogPolicy::default(),
        }
    }

    #[must_use]
    pub fn wants(&self, event_type: &EventType) -> bool {
        self.events.is_empty() || self.events.contains(event_type)
    }
}

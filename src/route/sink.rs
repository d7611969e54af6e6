//! Where a route's events go: the part of the route file that each sink's worker reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::linktree::{event::EventType, secret::Secret};

/// Where events go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sink {
    pub name: String,
    /// `None` while something that the sink refers to is missing: its events wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<SinkUrl>,
    /// Sent as `Authorization: Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Secret>,
    /// What requests are signed with, as Standard Webhooks has it; `None`: they are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<Secret>,
    /// The event types this sink wants; empty means all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub events: BTreeSet<EventType>,
    /// Which of those it wants, in CEL: see [`super::filter`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    #[serde(default)]
    pub format: Format,
    #[serde(default)]
    pub ordering: Ordering,
    pub timeout_seconds: u32,
    pub retry: Retry,
}

/// A URL that may be a credential, as those of chats' incoming webhooks are: `Debug` shows scheme, host and port only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SinkUrl(Url);

impl SinkUrl {
    #[must_use]
    pub fn new(url: Url) -> Self {
        SinkUrl(url)
    }

    /// The URL itself, for whoever connects to it.
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

/// The form a sink gets events in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Format {
    /// CloudEvents 1.0, binary mode: attributes in the header, the delivery's body as it came.
    #[default]
    CloudEvent,
    /// CloudEvents 1.0, structured mode: one JSON object with the delivery's body as `data`.
    CloudEventStructured,
    /// The delivery's body, and nothing of ours.
    Raw,
    /// What a template makes of the event.
    Template(TemplateSource),
}

/// A template as it was written; [`super::template::Template`] is what it compiles to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateSource {
    pub body: String,
    pub content_type: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Which events of a sink wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ordering {
    /// None: one that fails steps aside, those behind it go on.
    #[default]
    None,
    /// Those that speak of the same link or profile: each waits until the one before it is settled.
    ByResource,
}

/// How often and how soon a failed forward is tried again: `delay * 2^n`, at most `max_delay`, with jitter; after
/// `limit` retries the event is a dead letter, kept in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    pub limit: u32,
    pub delay_seconds: u32,
    pub max_delay_seconds: u32,
}

impl Sink {
    /// A sink at `url` that asks for nothing special, with the defaults the custom resource documents.
    #[must_use]
    pub fn new(name: &str, url: Url) -> Self {
        Sink {
            name: name.to_owned(),
            url: Some(SinkUrl::new(url)),
            bearer: None,
            signing_secret: None,
            events: BTreeSet::new(),
            filter: None,
            format: Format::default(),
            ordering: Ordering::default(),
            timeout_seconds: 10,
            retry: Retry { limit: 8, delay_seconds: 2, max_delay_seconds: 300 },
        }
    }

    #[must_use]
    pub fn wants(&self, event_type: &EventType) -> bool {
        self.events.is_empty() || self.events.contains(event_type)
    }
}

//! The sinks of a `LinktreeWebhook`: where verified events go, in which form, and what happens when they are not taken.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKeyReference;

/// A place that verified events are sent to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.format) && self.format == 'Template') == has(self.template)")
        .message("format and template do not fit: write format: Template together with template, or neither"),
    validation = Rule::new("[has(self.http), has(self.service), has(self.addressable)].filter(given, given).size() == 1")
        .message("a sink is in one place: write one of http, service and addressable")
)]
pub struct Sink {
    /// The name the status calls this sink by.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// An HTTP endpoint, anywhere that egress rules allow (docs/sinks.md); each event is a POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSink>,
    /// A Service of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSink>,
    /// An object of this namespace that has status.address.url, such as a Knative Broker, Channel or Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressable: Option<AddressableSink>,
    /// The event types this sink is sent; left out, all that are subscribed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 128), pattern(r"^[a-z][a-z0-9_]*([.][a-z0-9_]+)+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub events: Vec<String>,
    /// Which of those events are sent, in CEL: true or false for each, such as event.data.position < 10 or
    /// has(event.data.threshold) && event.data.threshold >= 1000. The one variable is event, as in template; there are
    /// no loops. An event for which it cannot be said, since a field it uses is missing, becomes a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub filter: Option<String>,
    /// The form of the requests; left out, CloudEvent. CloudEvent: CloudEvents 1.0 in binary mode, the attributes in the
    /// header and Linktree's body as it came. CloudEventStructured: one JSON object with Linktree's body as data. Raw:
    /// Linktree's body as it came and nothing else. Template: what template makes of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The request body, with format Template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// The Secret key that holds a secret to sign requests with, as Standard Webhooks has it: headers webhook-id,
    /// webhook-timestamp and webhook-signature. A secret that begins with whsec_ stands for the bytes that its rest
    /// encodes in base64, any other for its own bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret_ref: Option<SecretKeyReference>,
    /// Timeouts, order and retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// The form of the requests to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Format {
    CloudEvent,
    CloudEventStructured,
    Raw,
    Template,
}

/// What a request is made of, for APIs that want a form of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// The body, in the language of Jinja: {{ event.data.title }}, {% if event.type == "link.created" %}, and so on. The
    /// one variable is event: id, type, time, subject (the link's id, or the profile's user name), timestamp and data,
    /// which has the fields Linktree documents for the type. Values are escaped for contentType; in JSON they may stand
    /// between quotes or alone. Tags are taken out of texts. An event that lacks a field which is used, or has an
    /// address that is not http(s), becomes a dead letter; write {{ event.data.thumbnail_url | default("") }} for a
    /// field that may be missing.
    #[schemars(length(min = 1, max = 16384))]
    pub body: String,
    /// Left out: application/json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), pattern(r"^[a-z0-9.+-]+/[a-z0-9.+-]+(; ?[a-z]+=[A-Za-z0-9-]+)*$"))]
    pub content_type: Option<String>,
    /// More headers, with values as they are. Credentials do not belong here: see authSecretRef.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
}

/// An HTTP endpoint.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlSecretRef)")
        .message("http wants a URL: write one of url and urlSecretRef")
)]
pub struct HttpSink {
    /// The URL that events are posted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != '' && !self.contains('@') && !self.contains('#')")
            .message("http.url must be an absolute http:// or https:// URL without user name, password or fragment; put credentials into http.authSecretRef")
    )]
    pub url: Option<String>,
    /// The Secret key that holds the URL, where the URL itself is the credential, as with incoming webhooks of chats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<SecretKeyReference>,
    /// The Secret key that holds a token, sent as Authorization: Bearer TOKEN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret_ref: Option<SecretKeyReference>,
}

/// A Service of this namespace, spoken to over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSink {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A port of it. Left out: 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i64>,
    /// The path that events are posted to. Left out: /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), pattern(r"^/[^ #]*$"))]
    pub path: Option<String>,
}

/// An object that says itself where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressableSink {
    /// The object. The operator must be allowed to read its kind: see the chart's value addressables.
    #[serde(rename = "ref")]
    pub reference: AddressableReference,
}

/// Names an object of any kind in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressableReference {
    /// Group and version, such as eventing.knative.dev/v1.
    #[schemars(length(min = 1, max = 253), pattern(r"^([a-z0-9.-]+/)?v[0-9]+((alpha|beta)[0-9]+)?$"))]
    pub api_version: String,
    /// Kind, such as Broker.
    #[schemars(length(min = 1, max = 63), pattern(r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// Name of the object, in this object's namespace.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Timeouts, order and retries of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// How long the sink may take to answer, in seconds. Left out: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: Option<i64>,
    /// None, or left out: events are sent side by side, and one that fails is passed by those behind it. ByResource:
    /// events that speak of the same link or profile are sent one after the other in the order in which they came; one
    /// that fails holds back those behind it until it is taken or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// When and how often a failed event is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// Which events of a sink wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Ordering {
    None,
    ByResource,
}

/// When and how often a failed event is sent again: after delaySeconds, doubled each time up to maxDelaySeconds, and not
/// before the sink's own Retry-After. What the sink answers with 408, 409, 429 or 5xx, or not at all, is sent again; any
/// other answer that is not 2xx makes it a dead letter at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Retries after the first attempt; then the event is a dead letter and stays in the journal. Left out: 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub limit: Option<i64>,
    /// Left out: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub delay_seconds: Option<i64>,
    /// Left out: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub max_delay_seconds: Option<i64>,
}

//! The sinks of a `LinktreeWebhook`: addresses, request formats, ordering and retries.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::SecretKeyReference;

/// A destination for verified events.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.format) && self.format == 'Template') == has(self.template)")
        .message("format and template do not match: set format: Template together with template, or neither"),
    validation = Rule::new("[has(self.http), has(self.service), has(self.addressable)].filter(given, given).size() == 1")
        .message("a sink has exactly one address: set one of http, service and addressable")
)]
pub struct Sink {
    /// The sink's name in the status.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// An HTTP endpoint at any address that the egress rules allow (docs/sinks.md). Each event is a POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSink>,
    /// A Service in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSink>,
    /// An object in this namespace that has status.address.url, such as a Knative Broker, Channel or Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressable: Option<AddressableSink>,
    /// The event types to send to this sink; if omitted, every subscribed type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 128), pattern(r"^[a-z][a-z0-9_]*([.][a-z0-9_]+)+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub events: Vec<String>,
    /// A CEL expression that is true for the events to send, such as event.data.position < 10 or
    /// has(event.data.threshold) && event.data.threshold >= 1000. The only variable is event, as in template; macros
    /// that loop are not available. If evaluation fails, for example because a field is missing, the event becomes a
    /// dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub filter: Option<String>,
    /// The format of the requests; if omitted, CloudEvent. CloudEvent: CloudEvents 1.0 in binary mode, with the
    /// attributes in headers and Linktree's body unchanged. CloudEventStructured: one JSON object with Linktree's body
    /// as data. Raw: only Linktree's body, unchanged. Template: the rendered template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The request body, with format Template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// The Secret key that holds the secret for signing requests as defined by Standard Webhooks: headers webhook-id,
    /// webhook-timestamp and webhook-signature. The secret is base64, with or without whsec_ and line breaks; a secret
    /// that is not base64 and does not begin with whsec_ is used as is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret_ref: Option<SecretKeyReference>,
    /// Timeout, ordering and retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// The format of the requests to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Format {
    CloudEvent,
    CloudEventStructured,
    Raw,
    Template,
}

/// A template for the request body, for APIs with their own format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// The body, in Jinja syntax: {{ event.data.title }}, {% if event.type == "link.created" %}, and so on. The only
    /// variable is event, with id, type, time, subject (the link's id, or the profile's user name), timestamp and data,
    /// which has the fields that Linktree documents for the type. Values are escaped for contentType; in JSON they can
    /// be placed inside or outside quotes. HTML tags are removed from text. If the template uses a field that the event
    /// does not have, or the event has a URL that is not http(s), mailto, tel or sms, the event becomes a dead letter.
    /// For an optional field write {{ event.data.thumbnail_url | default("") }}.
    #[schemars(length(min = 1, max = 16384))]
    pub body: String,
    /// Content type of the body. Default: application/json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), pattern(r"^[a-z0-9.+-]+/[a-z0-9.+-]+(; ?[a-z]+=[A-Za-z0-9-]+)*$"))]
    pub content_type: Option<String>,
    /// Additional headers, sent unchanged. Do not put credentials here: use authSecretRef.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
}

/// An HTTP endpoint.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlSecretRef)")
        .message("http needs a URL: set one of url and urlSecretRef")
)]
pub struct HttpSink {
    /// The URL to post events to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != '' && !self.contains('@') && !self.contains('#')")
            .message("http.url must be an absolute http:// or https:// URL without user name, password or fragment; put credentials into http.authSecretRef")
    )]
    pub url: Option<String>,
    /// The Secret key that holds the URL, for URLs that are credentials themselves, such as a chat's incoming webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<SecretKeyReference>,
    /// The Secret key that holds a token to send as Authorization: Bearer TOKEN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret_ref: Option<SecretKeyReference>,
    /// A CEL expression that must be true for a 2xx response to count as success, such as answer.body.ok == true: for
    /// APIs that report errors in the body of a 200. The only variable is answer, with status and body. body is the JSON
    /// of the response's body, or null if the body is not JSON or longer than 64 KiB; macros that loop are not
    /// available. If the expression is false or its evaluation fails, the event has failed and is retried. If omitted,
    /// every 2xx response is a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub success_condition: Option<String>,
}

/// A Service in this namespace, reached over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSink {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Service's port. Default: 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i64>,
    /// The path to post events to. Default: /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), pattern(r"^/[^ #]*$"))]
    pub path: Option<String>,
}

/// An object whose status contains its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressableSink {
    /// The object with the address. The operator needs permission to read its kind: see the chart's value addressables.
    #[serde(rename = "ref")]
    pub reference: AddressableReference,
}

/// A reference to an object of any kind in the same namespace.
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

/// Timeout, ordering and retries of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Time that the sink has to answer, in seconds. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: Option<i64>,
    /// None, the default: events are sent concurrently, and a failed event does not delay others. ByResource: events
    /// about the same link or profile are sent one at a time in the order of arrival; a failed event holds back the
    /// later ones until it is delivered or becomes a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// Retries of failed events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The fate of this sink's undelivered events when the journal is full. Refuse, the default: they stay, and new
    /// deliveries are answered 503 until there is room, so one sink that is down for long ends the intake for all sinks.
    /// DropOldest: this sink's dead letters, then its oldest waiting events, are given up, so that the intake continues
    /// for the other sinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_policy: Option<BacklogPolicy>,
}

/// The fate of a sink's undelivered events when the journal is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BacklogPolicy {
    Refuse,
    DropOldest,
}

/// The order in which a sink's events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Ordering {
    None,
    ByResource,
}

/// Retries of failed events: the first after delaySeconds, doubled each time up to maxDelaySeconds. A failure counts
/// against the event only if the sink takes other events: three answers that reject the event (most of 4xx, or
/// successCondition is false) make it a dead letter, and an event that fails otherwise is retried for
/// giveUpAfterSeconds. A sink that takes no event is held: it gets one event from time to time, and its events wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// How long an event is retried that fails while the sink takes other events, in seconds from its first such
    /// failure; time in which the sink is held does not count. The event then becomes a dead letter, which stays in the
    /// journal. Default: 604800, 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub give_up_after_seconds: Option<i64>,
    /// Delay before the first retry, in seconds. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub delay_seconds: Option<i64>,
    /// Longest delay between two retries, in seconds. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub max_delay_seconds: Option<i64>,
}

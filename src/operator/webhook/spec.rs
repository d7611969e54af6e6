//! Parses the spec of a `LinktreeWebhook` into types that cannot hold an invalid value. The CRD's schema and CEL rules
//! reject most mistakes earlier; the remaining ones are rejected here, with the same kind of message.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use url::Url;

use crate::{
    api::{
        SecretKeyReference,
        webhook::{self as api, LinktreeWebhook, Pause},
    },
    linktree::event::EventType,
    operator::kubernetes::names::{self, NAME_WITH_RECEIVER_MAX},
    route::{StaleDeliveryPolicy, WebhookName},
};

pub mod endpoint;
pub mod exposure;
mod invalid;
mod policies;
pub mod programs;
mod quantity;
pub mod sink;

pub use self::{
    endpoint::Endpoint,
    exposure::Exposure,
    invalid::InvalidSpec,
    policies::{Adoption, Deletion, Policies, Recovery},
    sink::Sink,
};
use self::{
    invalid::{event_types, invalid, whole},
    quantity::ByteQuantity,
};

/// The key of the current signing secret in the Secret NAME-signing.
pub const SIGNING_SECRET_KEY: &str = "secret";
/// The key of the previous signing secret in that Secret.
pub const PREVIOUS_SECRET_KEY: &str = "previous";

/// The smallest ratio of a journal's capacity and a body that it stores.
const CAPACITY_PER_BODY: u64 = 32;
/// Minimum capacity of a journal's volume in bytes, as in the schema's CEL rule.
const CAPACITY_MIN_BYTES: u64 = 64 << 20;

/// The parsed spec of a `LinktreeWebhook`.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub name: WebhookName,
    pub uid: String,
    pub generation: Option<i64>,
    /// The name of the `LinktreeConnection`.
    pub connection: String,
    pub events: BTreeSet<EventType>,
    /// The URL that is registered at Linktree. It identifies the subscription, so that of a bundled receiver depends
    /// only on host, namespace and name.
    pub url: Url,
    pub endpoint: Endpoint,
    pub keys: Keys,
    pub timestamp_tolerance_seconds: u32,
    pub stale_delivery_policy: StaleDeliveryPolicy,
    pub deduplication_window_seconds: u64,
    pub policies: Policies,
    pub journal: Journal,
    pub max_body_bytes: u64,
    pub redact_fields: BTreeSet<String>,
    pub sinks: Vec<Sink>,
    pub pause: Pause,
}

/// The source of the signing keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The secret that Linktree's API returns; the operator stores it in this Secret.
    Provider { secret_name: String },
    /// Keys in Secrets that the user lists, the current key first.
    Named(Vec<NamedKey>),
}

/// A signing key that the user lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    pub name: String,
    pub secret: SecretKeyReference,
    /// `notAfterTime`: when the key expires.
    pub not_after: Option<Timestamp>,
}

/// The receiver's journal: how long it keeps events, and the size of its volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    pub retention_seconds: u64,
    pub dead_letter_retention_seconds: u64,
    pub capacity: Quantity,
    pub capacity_bytes: u64,
    pub storage_class_name: Option<String>,
}

impl Spec {
    /// Parses the spec of a webhook; later stages use only the parsed spec.
    ///
    /// # Errors
    /// The first invalid field, with its problem.
    pub fn parse(webhook: &LinktreeWebhook) -> Result<Self, InvalidSpec> {
        let name = WebhookName { namespace: webhook.namespace().unwrap_or_default(), name: webhook.name_any() };
        let api::LinktreeWebhookSpec {
            connection_ref,
            events,
            endpoint,
            signing,
            subscription,
            receiver,
            sinks,
            pause,
        } = &webhook.spec;
        let api::Receiver { deduplication, journal, max_body_bytes, redact_fields } = receiver;
        let (endpoint, url) = Endpoint::parse(&name, endpoint)?;
        let journal = parse_journal(journal)?;
        check_name(&name, &endpoint)?;
        let sinks = sinks.iter().map(|sink| Sink::parse(&name.namespace, sink)).collect::<Result<Vec<_>, _>>()?;
        programs::check(&sinks)?;
        Ok(Spec {
            connection: connection_ref.name.clone(),
            events: event_types(events),
            url,
            endpoint,
            keys: keys(&name, &signing.keys),
            timestamp_tolerance_seconds: whole(
                "signing.timestampToleranceSeconds",
                signing.timestamp_tolerance_seconds,
            )?,
            stale_delivery_policy: stale_delivery_policy(signing.stale_delivery_policy),
            deduplication_window_seconds: whole("receiver.deduplication.windowSeconds", deduplication.window_seconds)?,
            policies: Policies::parse(subscription)?,
            max_body_bytes: parse_max_body_bytes(*max_body_bytes, &journal)?,
            journal,
            redact_fields: redact_fields.iter().cloned().collect(),
            sinks,
            pause: *pause,
            uid: webhook.uid().unwrap_or_default(),
            generation: webhook.metadata.generation,
            name,
        })
    }

    /// Whether the user runs the receiver.
    #[must_use]
    pub fn is_external(&self) -> bool {
        match self.endpoint {
            Endpoint::Managed(_) => false,
            Endpoint::External => true,
        }
    }

    /// How the bundled receiver is exposed; `None` for an external receiver.
    #[must_use]
    pub fn exposure(&self) -> Option<&Exposure> {
        match &self.endpoint {
            Endpoint::Managed(managed) => Some(&managed.exposure),
            Endpoint::External => None,
        }
    }

    /// The name of the Secret with the TLS certificate, if the bundled receiver terminates TLS itself.
    #[must_use]
    pub fn tls_secret(&self) -> Option<&String> {
        match &self.endpoint {
            Endpoint::Managed(managed) => managed.tls_secret.as_ref(),
            Endpoint::External => None,
        }
    }

    /// The name of the receiver's objects: StatefulSet, Service, ServiceAccount, NetworkPolicy.
    #[must_use]
    pub fn receiver_name(&self) -> String {
        names::receiver(&self.name.name)
    }

    /// The name of the Secret that holds the route file.
    #[must_use]
    pub fn route_secret_name(&self) -> String {
        names::route_secret(&self.name.name)
    }
}

/// A name from which all names and labels of the receiver's objects can be made. The schema rejects others, but not those
/// of webhooks that an earlier version of it accepted.
fn check_name(name: &WebhookName, endpoint: &Endpoint) -> Result<(), InvalidSpec> {
    match endpoint {
        Endpoint::Managed(_) if name.name.len() > NAME_WITH_RECEIVER_MAX => Err(InvalidSpec {
            field: "metadata.name".to_owned(),
            problem: format!(
                "is longer than {NAME_WITH_RECEIVER_MAX} characters, so no pod of a receiver can be labeled with it: \
                 create the webhook with a shorter name"
            ),
        }),
        Endpoint::Managed(_) | Endpoint::External => Ok(()),
    }
}

fn keys(name: &WebhookName, keys: &[api::SigningKey]) -> Keys {
    if keys.is_empty() {
        return Keys::Provider { secret_name: names::signing_secret(&name.name) };
    }
    let named = |key: &api::SigningKey| NamedKey {
        name: key.name.clone(),
        secret: key.secret_ref.clone(),
        not_after: key.not_after_time.as_ref().map(|time| time.0),
    };
    Keys::Named(keys.iter().map(named).collect())
}

fn stale_delivery_policy(policy: api::StaleDeliveryPolicy) -> StaleDeliveryPolicy {
    match policy {
        api::StaleDeliveryPolicy::Reject => StaleDeliveryPolicy::Reject,
        api::StaleDeliveryPolicy::AcceptOnce => StaleDeliveryPolicy::AcceptOnce,
    }
}

/// A body that the journal can store: its log has a sixteenth of the volume, and a body half of the log.
fn parse_max_body_bytes(max_body_bytes: i64, journal: &Journal) -> Result<u64, InvalidSpec> {
    let bytes = whole("receiver.maxBodyBytes", max_body_bytes)?;
    if bytes > journal.capacity_bytes / CAPACITY_PER_BODY {
        let problem = "is above a thirty-second of receiver.journal.capacity, the largest body that such a journal can \
            store: write a smaller number, or create the webhook with a larger journal";
        return Err(invalid("receiver.maxBodyBytes", problem));
    }
    Ok(bytes)
}

fn parse_journal(journal: &api::Journal) -> Result<Journal, InvalidSpec> {
    let api::Journal { retention_seconds, dead_letter_retention_seconds, capacity, storage_class_name } = journal;
    let invalid_capacity = |problem| invalid("receiver.journal.capacity", problem);
    let capacity = ByteQuantity::parse(&capacity.0)
        .ok_or_else(|| invalid_capacity("is not a size in bytes: write a quantity such as 1Gi"))?;
    if capacity.bytes() < CAPACITY_MIN_BYTES {
        return Err(invalid_capacity("is below 64Mi: write a quantity of at least 64Mi, such as 1Gi"));
    }
    Ok(Journal {
        retention_seconds: whole("receiver.journal.retentionSeconds", *retention_seconds)?,
        dead_letter_retention_seconds: whole(
            "receiver.journal.deadLetterRetentionSeconds",
            *dead_letter_retention_seconds,
        )?,
        // In the API server's canonical form: any other would differ from the live object at every comparison.
        capacity: Quantity(capacity.to_string()),
        capacity_bytes: capacity.bytes(),
        storage_class_name: storage_class_name.clone(),
    })
}

#[cfg(test)]
pub(in crate::operator) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A minimal webhook, changed by `edit`.
    pub(in crate::operator) fn webhook(edit: impl FnOnce(&mut Value)) -> LinktreeWebhook {
        let mut object = json!({
            "apiVersion": "webhooks.linktree-operator.dev/v1alpha1",
            "kind": "LinktreeWebhook",
            "metadata": {"namespace": "marketing", "name": "links", "uid": "u-1", "generation": 1},
            "spec": {
                "connectionRef": {"name": "brand"},
                "events": ["link.created", "link.updated"],
                "endpoint": {"managed": {"exposure": {"type": "Service"}}},
                "sinks": [{"name": "cms", "http": {"url": "http://cms.marketing.svc/in"}}],
            },
        });
        edit(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn the_path_of_the_url_depends_only_on_namespace_and_name() {
        let service = Spec::parse(&webhook(|_| {})).unwrap().url;
        assert!(service.as_str().starts_with("http://links-receiver.marketing.svc.cluster.local/h/"), "{service}");
        let public = Spec::parse(&webhook(|object| {
            object["spec"]["endpoint"] =
                json!({"managed": {"host": "hooks.example.com", "exposure": {"type": "None"}}});
            object["metadata"]["uid"] = "u-2".into();
            object["spec"]["sinks"] = json!([]);
        }));
        let public = public.unwrap().url;
        assert_eq!((public.host_str(), public.path()), (Some("hooks.example.com"), service.path()));
        let other = Spec::parse(&webhook(|object| object["metadata"]["name"] = "other".into())).unwrap().url;
        assert_ne!(other.path(), service.path());
    }

    #[test]
    fn an_absent_field_has_the_documented_default() {
        let spec = Spec::parse(&webhook(|_| {})).unwrap();
        assert_eq!(spec.keys, Keys::Provider { secret_name: "links-signing".into() });
        assert_eq!((spec.timestamp_tolerance_seconds, spec.max_body_bytes), (300, 262_144));
        assert_eq!(spec.stale_delivery_policy, StaleDeliveryPolicy::Reject);
        assert_eq!(
            spec.redact_fields,
            ["geo_city", "ip_address", "referrer_url", "user_agent"].map(String::from).into()
        );
        assert_eq!(spec.journal.capacity_bytes, 1 << 30);
    }

    #[test]
    fn an_invalid_value_that_passes_the_schema_is_rejected_with_its_field() {
        type Edit = fn(&mut Value);
        let cases: [(Edit, &str); 5] = [
            (
                |o| o["metadata"]["name"] = "a".repeat(44).into(),
                "metadata.name is longer than 43 characters, so no pod",
            ),
            (
                |o| o["spec"]["receiver"] = json!({"journal": {"capacity": "lots"}}),
                "spec.receiver.journal.capacity is not a size",
            ),
            (
                |o| o["spec"]["receiver"] = json!({"journal": {"capacity": "64Mi"}, "maxBodyBytes": (2 << 20) + 1}),
                "spec.receiver.maxBodyBytes is above a thirty-second of receiver.journal.capacity",
            ),
            (
                |o| o["spec"]["sinks"][0]["http"]["url"] = "ftp://x/".into(),
                "spec.sinks[cms].http.url is not an http://",
            ),
            (
                |o| o["spec"]["endpoint"]["managed"]["exposure"]["type"] = "None".into(),
                "spec.endpoint.managed.host is missing",
            ),
        ];
        for (edit, expected) in cases {
            let message = Spec::parse(&webhook(edit)).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn the_capacity_of_a_journal_has_the_schemas_minimum() {
        let parse = |capacity: Value| {
            let webhook = webhook(|object| object["spec"]["receiver"] = json!({"journal": {"capacity": capacity}}));
            Spec::parse(&webhook).map(|spec| (spec.journal.capacity.0, spec.journal.capacity_bytes))
        };
        for (capacity, written, bytes) in [
            (json!("64Mi"), "64Mi", CAPACITY_MIN_BYTES),
            (json!("1.5Gi"), "1536Mi", 1536 << 20),
            (json!("1e9"), "1e9", 1_000_000_000),
            (json!(1_073_741_824), "1073741824", 1 << 30),
        ] {
            assert_eq!(parse(capacity).unwrap(), (written.to_owned(), bytes));
        }
        for capacity in ["0", "1Mi", "67108863", "0.06249Gi"] {
            let message = parse(capacity.into()).unwrap_err().to_string();
            assert!(message.starts_with("spec.receiver.journal.capacity is below 64Mi"), "{capacity}: {message}");
        }
        for capacity in ["-1Gi", "lots", ""] {
            let message = parse(capacity.into()).unwrap_err().to_string();
            assert!(message.starts_with("spec.receiver.journal.capacity is not a size"), "{capacity}: {message}");
        }
    }
}

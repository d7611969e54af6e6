//! A `LinktreeWebhook` parsed into types that cannot be wrong. The schema and its CEL rules refuse most mistakes before
//! they get here; what they let through is refused here, with the same kind of message.

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
    operator::kubernetes::names,
    route::{StaleDeliveryPolicy, WebhookName},
};

pub mod endpoint;
pub mod exposure;
mod policies;
pub mod sink;

pub use self::{
    endpoint::Endpoint,
    exposure::Exposure,
    policies::{Adoption, Deletion, Policies, Recovery},
    sink::Sink,
};

/// Key of the current secret in the Secret NAME-signing.
pub const SIGNING_SECRET_KEY: &str = "secret";
/// Key of the secret before it.
pub const PREVIOUS_SECRET_KEY: &str = "previous";

/// What the owner of a webhook asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub name: WebhookName,
    pub uid: String,
    pub generation: Option<i64>,
    /// Name of the `LinktreeConnection`.
    pub connection: String,
    pub events: BTreeSet<EventType>,
    /// The URL registered at Linktree; it identifies the subscription, so that of our own receiver never depends on
    /// anything but host, namespace and name.
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

/// Where the signing keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The secret Linktree's API returned, kept in this Secret.
    Provider { secret_name: String },
    /// Secrets the user names, the current one first.
    Named(Vec<NamedKey>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    pub name: String,
    pub secret: SecretKeyReference,
    /// From when on it verifies nothing.
    pub not_after: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    pub retention_seconds: u64,
    pub capacity: Quantity,
    pub capacity_bytes: u64,
    pub storage_class_name: Option<String>,
}

/// A field with a value that cannot be used, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidSpec {
    pub field: String,
    pub problem: String,
}

impl Spec {
    /// Parses the object once, at the edge; inner code never sees the raw one.
    ///
    /// # Errors
    /// The first field that cannot be used.
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
            journal: parse_journal(journal)?,
            max_body_bytes: whole("receiver.maxBodyBytes", *max_body_bytes)?,
            redact_fields: redact_fields.iter().cloned().collect(),
            sinks: sinks.iter().map(|sink| Sink::parse(&name.namespace, sink)).collect::<Result<_, _>>()?,
            pause: *pause,
            uid: webhook.uid().unwrap_or_default(),
            generation: webhook.metadata.generation,
            name,
        })
    }

    /// The receiver is one of the user's own.
    #[must_use]
    pub fn is_external(&self) -> bool {
        match self.endpoint {
            Endpoint::Managed(_) => false,
            Endpoint::External => true,
        }
    }

    /// What leads to the bundled receiver, where that is wanted.
    #[must_use]
    pub fn exposure(&self) -> Option<&Exposure> {
        match &self.endpoint {
            Endpoint::Managed(managed) => Some(&managed.exposure),
            Endpoint::External => None,
        }
    }

    /// The Secret with the certificate, where the bundled receiver ends TLS itself.
    #[must_use]
    pub fn tls_secret(&self) -> Option<&String> {
        match &self.endpoint {
            Endpoint::Managed(managed) => managed.tls_secret.as_ref(),
            Endpoint::External => None,
        }
    }

    /// The name of everything the receiver consists of: workload, Service, ServiceAccount, NetworkPolicy.
    #[must_use]
    pub fn receiver_name(&self) -> String {
        names::receiver(&self.name.name)
    }

    /// The Secret that holds the route file.
    #[must_use]
    pub fn route_secret_name(&self) -> String {
        names::route_secret(&self.name.name)
    }
}

fn event_types(names: &[String]) -> BTreeSet<EventType> {
    names.iter().map(|name| EventType::named(name)).collect()
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

fn parse_journal(journal: &api::Journal) -> Result<Journal, InvalidSpec> {
    let api::Journal { retention_seconds, capacity, storage_class_name } = journal;
    let capacity_bytes = quantity_bytes(&capacity.0)
        .ok_or_else(|| invalid("receiver.journal.capacity", "is no size in bytes: write a quantity such as 1Gi"))?;
    Ok(Journal {
        retention_seconds: whole("receiver.journal.retentionSeconds", *retention_seconds)?,
        capacity: canonical(&capacity.0, capacity_bytes),
        capacity_bytes,
        storage_class_name: storage_class_name.clone(),
    })
}

fn whole<T: TryFrom<i64>>(field: impl Into<String>, value: i64) -> Result<T, InvalidSpec> {
    T::try_from(value).map_err(|_| invalid(field, "is out of range: write a whole number that is not negative"))
}

/// Bytes of a Kubernetes quantity written as a whole number with a binary, decimal or no suffix.
fn quantity_bytes(text: &str) -> Option<u64> {
    const SUFFIXES: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let (number, unit) = SUFFIXES
        .iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
        .unwrap_or((text, 1));
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// The quantity as the API server writes it (`1024Mi` is `1Gi`): in other words it would look like a difference for ever.
fn canonical(text: &str, bytes: u64) -> Quantity {
    let (base, suffixes) =
        if text.ends_with('i') { (1024, ["", "Ki", "Mi", "Gi", "Ti"]) } else { (1000, ["", "k", "M", "G", "T"]) };
    let (mut number, mut power) = (bytes, 0);
    while number != 0 && number.is_multiple_of(base) && power + 1 < suffixes.len() {
        number /= base;
        power += 1;
    }
    Quantity(format!("{number}{}", suffixes[power]))
}

fn invalid(field: impl Into<String>, problem: &str) -> InvalidSpec {
    InvalidSpec { field: format!("spec.{}", field.into()), problem: problem.to_owned() }
}

#[cfg(test)]
pub(in crate::operator) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The smallest useful webhook, changed by `edit`.
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
    fn the_url_is_derived_from_namespace_and_name_alone() {
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
    fn what_is_left_out_has_the_documented_default() {
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
    fn a_value_the_schema_let_through_is_refused_with_its_field() {
        type Edit = fn(&mut Value);
        let cases: [(Edit, &str); 3] = [
            (
                |o| o["spec"]["receiver"] = json!({"journal": {"capacity": "lots"}}),
                "spec.receiver.journal.capacity is no size",
            ),
            (|o| o["spec"]["sinks"][0]["http"]["url"] = "ftp://x/".into(), "spec.sinks[cms].http.url is no http://"),
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
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, bytes) in [("64Mi", 64 << 20), ("5Gi", 5 << 30), ("1G", 1_000_000_000), ("1073741824", 1 << 30)] {
            assert_eq!(quantity_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "Gi", "-1Gi", "1.5Gi", "99999999999Ti"] {
            assert_eq!(quantity_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_quantity_is_written_as_the_api_server_does() {
        for (text, written) in [
            ("1024Mi", "1Gi"),
            ("1000Gi", "1000Gi"),
            ("1536Mi", "1536Mi"),
            ("5000M", "5G"),
            ("1073741824", "1073741824"),
            ("2048Ti", "2048Ti"),
        ] {
            assert_eq!(canonical(text, quantity_bytes(text).unwrap()).0, written, "{text}");
        }
    }
}

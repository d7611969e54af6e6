//! The status fields of Knative's Source duck type. Pure.

use crate::{
    api::webhook_status::{CloudEventAttributes, LinktreeWebhookStatus},
    operator::webhook::{
        addressable::Addresses,
        spec::{Spec, sink::Address},
    },
    route::{
        Format,
        cloudevent::{event_type, source},
    },
};

/// Adds to a status the fields that Knative's tools read from a source.
#[must_use]
pub fn with_fields(spec: &Spec, addresses: &Addresses, status: LinktreeWebhookStatus) -> LinktreeWebhookStatus {
    LinktreeWebhookStatus { sink_uri: sink_uri(spec, addresses), ce_attributes: ce_attributes(spec), ..status }
}

fn sink_uri(spec: &Spec, addresses: &Addresses) -> Option<String> {
    let [sink] = spec.sinks.as_slice() else { return None };
    match &sink.address {
        Address::Url(url) => Some(url.to_string()),
        Address::Secret(_) => None,
        Address::Addressable(reference) => addresses.get(reference)?.as_ref().ok().map(ToString::to_string),
    }
}

fn ce_attributes(spec: &Spec) -> Vec<CloudEventAttributes> {
    let is_cloud_event = |format: &Format| match format {
        Format::CloudEvent | Format::CloudEventStructured => true,
        Format::Raw | Format::Template(_) => false,
    };
    if !spec.sinks.iter().any(|sink| is_cloud_event(&sink.format)) {
        return Vec::new();
    }
    let attributes = |event| CloudEventAttributes { event_type: event_type(event), source: source(&spec.name) };
    spec.events.iter().map(attributes).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    fn status(sinks: Value) -> LinktreeWebhookStatus {
        let spec = Spec::parse(&webhook(|object| object["spec"]["sinks"] = sinks)).unwrap();
        with_fields(&spec, &Addresses::new(), LinktreeWebhookStatus::default())
    }

    #[test]
    fn a_single_sink_is_the_sink_uri_unless_its_address_is_a_secret() {
        let open = json!({"name": "a", "http": {"url": "https://a.example/in"}});
        let secret = json!({"name": "b", "http": {"urlSecretRef": {"name": "chat", "key": "url"}}});
        assert_eq!(status(json!([open])).sink_uri.as_deref(), Some("https://a.example/in"));
        for sinks in [json!([]), json!([secret]), json!([open, secret])] {
            assert_eq!(status(sinks.clone()).sink_uri, None, "{sinks}");
        }
    }

    #[test]
    fn ce_attributes_have_the_sent_types_if_a_sink_receives_cloud_events() {
        let sink = |format: &str| json!({"name": "a", "http": {"url": "https://a.example/in"}, "format": format});
        let attributes = status(json!([sink("CloudEvent")])).ce_attributes;
        let types: Vec<_> = attributes.iter().map(|it| it.event_type.as_str()).collect();
        assert_eq!(types, ["dev.linktree-operator.link.created", "dev.linktree-operator.link.updated"]);
        let source = "/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces/marketing/linktreewebhooks/links";
        assert!(attributes.iter().all(|it| it.source == source));
        assert_eq!(status(json!([sink("Raw")])).ce_attributes, []);
    }
}

//! A sink of the spec, parsed. Its filter, success condition and template are compiled by [`super::programs`].

use std::collections::BTreeSet;

use url::Url;

use super::invalid::{InvalidSpec, event_types, invalid, whole};
use crate::{
    api::{
        SecretKeyReference,
        sink::{self as api, AddressableReference},
    },
    linktree::event::EventType,
    route::{BacklogPolicy, Format, Ordering, Retry, TemplateSource},
};

/// A destination that the receiver forwards events to.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    pub name: String,
    pub address: Address,
    pub auth: Option<SecretKeyReference>,
    pub signing: Option<SecretKeyReference>,
    pub events: BTreeSet<EventType>,
    pub filter: Option<String>,
    pub success_condition: Option<String>,
    pub format: Format,
    pub ordering: Ordering,
    pub timeout_seconds: u32,
    pub retry: Retry,
    pub backlog_policy: BacklogPolicy,
}

/// Where a sink's URL comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Url(Url),
    /// A Secret key that contains the URL, for a URL that is a credential.
    Secret(SecretKeyReference),
    /// The `status.address.url` of an object in the cluster.
    Addressable(AddressableReference),
}

impl Sink {
    pub(super) fn parse(namespace: &str, sink: &api::Sink) -> Result<Self, InvalidSpec> {
        let api::Sink { name, events, filter, format, template, signing_secret_ref, delivery, .. } = sink;
        let field = |field: &str| format!("sinks[{name}].{field}");
        let api::Delivery { timeout_seconds, ordering, retry, backlog_policy } = delivery.clone().unwrap_or_default();
        let retry = retry.unwrap_or_default();
        Ok(Sink {
            name: name.clone(),
            address: address(namespace, sink).map_err(|(at, problem)| invalid(field(at), problem))?,
            auth: sink.http.as_ref().and_then(|http| http.auth_secret_ref.clone()),
            signing: signing_secret_ref.clone(),
            events: event_types(events),
            filter: filter.clone(),
            success_condition: sink.http.as_ref().and_then(|http| http.success_condition.clone()),
            format: parse_format(*format, template.as_ref()).map_err(|problem| invalid(field("template"), problem))?,
            ordering: match ordering {
                None | Some(api::Ordering::None) => Ordering::None,
                Some(api::Ordering::ByResource) => Ordering::ByResource,
            },
            timeout_seconds: whole(field("delivery.timeoutSeconds"), timeout_seconds.unwrap_or(10))?,
            retry: Retry {
                give_up_after_seconds: whole(
                    field("delivery.retry.giveUpAfterSeconds"),
                    retry.give_up_after_seconds.unwrap_or(604_800),
                )?,
                delay_seconds: whole(field("delivery.retry.delaySeconds"), retry.delay_seconds.unwrap_or(2))?,
                max_delay_seconds: whole(
                    field("delivery.retry.maxDelaySeconds"),
                    retry.max_delay_seconds.unwrap_or(300),
                )?,
            },
            backlog_policy: match backlog_policy {
                None | Some(api::BacklogPolicy::Refuse) => BacklogPolicy::Refuse,
                Some(api::BacklogPolicy::DropOldest) => BacklogPolicy::DropOldest,
            },
        })
    }

    /// The Secret keys that sending to this sink needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretKeyReference> {
        let url = match &self.address {
            Address::Secret(reference) => Some(reference),
            Address::Url(_) | Address::Addressable(_) => None,
        };
        url.into_iter().chain(&self.auth).chain(&self.signing)
    }
}

/// Parses a URL that events may be sent to: http or https, with a host, without credentials and fragment.
pub fn web_address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && bare).then_some(url)
}

/// Parses the address of a sink; the error is the invalid field and its problem.
fn address(namespace: &str, sink: &api::Sink) -> Result<Address, (&'static str, &'static str)> {
    match (&sink.http, &sink.service, &sink.addressable) {
        (Some(http), None, None) => match (&http.url, &http.url_secret_ref) {
            (Some(url), None) => web_address(url)
                .map(Address::Url)
                .ok_or(("http.url", "is not an http:// or https:// URL without user name, password and fragment")),
            (None, Some(reference)) => Ok(Address::Secret(reference.clone())),
            (None, None) | (Some(_), Some(_)) => Err(("http", "needs a URL: write one of url and urlSecretRef")),
        },
        (None, Some(service), None) => {
            let api::ServiceSink { name, port, path } = service;
            let (port, path) = (port.unwrap_or(80), path.as_deref().unwrap_or("/"));
            // The name without the cluster's domain, which may differ from cluster.local.
            let url = web_address(&format!("http://{name}.{namespace}.svc:{port}{path}"));
            url.map(Address::Url).ok_or(("service", "does not form a valid URL: correct name, port and path"))
        }
        (None, None, Some(api::AddressableSink { reference })) => Ok(Address::Addressable(reference.clone())),
        (_, _, _) => Err(("http", "is missing or not alone: write one of http, service and addressable")),
    }
}

/// Parses the format of a sink; the error is the problem of its template.
fn parse_format(format: Option<api::Format>, template: Option<&api::Template>) -> Result<Format, &'static str> {
    match (format.unwrap_or(api::Format::CloudEvent), template) {
        (api::Format::CloudEvent, None) => Ok(Format::CloudEvent),
        (api::Format::CloudEventStructured, None) => Ok(Format::CloudEventStructured),
        (api::Format::Raw, None) => Ok(Format::Raw),
        (api::Format::Template, Some(template)) => {
            let api::Template { body, content_type, headers } = template.clone();
            let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
            Ok(Format::Template(TemplateSource { body, content_type, headers }))
        }
        (api::Format::Template, None) => Err("is missing: write one, or another format than Template"),
        (api::Format::CloudEvent | api::Format::CloudEventStructured | api::Format::Raw, Some(_)) => {
            Err("must be left out: it goes with format Template")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::programs, *};

    fn parse(fields: &Value) -> Result<Sink, String> {
        let mut sink = json!({"name": "cms", "http": {"url": "https://cms.example/in"}});
        sink.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let sink = Sink::parse("marketing", &serde_json::from_value(sink).unwrap());
        let sink = sink.map_err(|error| error.to_string())?;
        programs::compile(std::slice::from_ref(&sink)).map_err(|error| error.to_string())?;
        Ok(sink)
    }

    #[test]
    fn a_sink_has_one_address() {
        let address = |fields: Value| parse(&fields).map(|sink| sink.address);
        let url = |text: &str| Ok(Address::Url(text.parse().unwrap()));
        assert_eq!(address(json!({})), url("https://cms.example/in"));
        assert_eq!(address(json!({"http": null, "service": {"name": "cms"}})), url("http://cms.marketing.svc/"));
        let service = json!({"name": "cms", "port": 8080, "path": "/in?x=1"});
        assert_eq!(address(json!({"http": null, "service": service})), url("http://cms.marketing.svc:8080/in?x=1"));
        let reference = json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"});
        let broker = address(json!({"http": null, "addressable": {"ref": reference}}));
        assert!(matches!(broker, Ok(Address::Addressable(reference)) if reference.kind == "Broker"));
        let secret = address(json!({"http": {"urlSecretRef": {"name": "chat", "key": "url"}}}));
        assert!(matches!(secret, Ok(Address::Secret(_))));
        for (fields, expected) in [
            (json!({"service": {"name": "cms"}}), "sinks[cms].http is missing or not alone"),
            (json!({"http": null}), "sinks[cms].http is missing or not alone"),
            (json!({"http": {}}), "sinks[cms].http needs a URL"),
            (json!({"http": {"url": "https://u:p@cms.example/"}}), "sinks[cms].http.url is not an http://"),
            (json!({"http": {"url": "ftp://cms.example/"}}), "sinks[cms].http.url is not an http://"),
            (json!({"http": null, "service": {"name": "cms", "port": 99999}}), "sinks[cms].service does not form"),
        ] {
            let problem = address(fields).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_filter_that_does_not_compile_is_rejected_with_field_and_line() {
        let problem = parse(&json!({"filter": "event.data.position <"})).unwrap_err();
        assert!(problem.starts_with("spec.sinks[cms].filter does not compile: line 1, column 22"), "{problem}");
        assert_eq!(
            parse(&json!({"filter": "event.type == 'x'"})).unwrap().filter.as_deref(),
            Some("event.type == 'x'")
        );
    }

    #[test]
    fn a_success_condition_that_does_not_compile_is_rejected_with_its_field() {
        let with =
            |condition: &str| parse(&json!({"http": {"url": "https://slack.example/", "successCondition": condition}}));
        let problem = with("answer.ok").unwrap_err();
        assert!(
            problem.starts_with("spec.sinks[cms].http.successCondition uses the unknown field answer.ok"),
            "{problem}"
        );
        let sink = with("answer.body.ok == true").unwrap();
        assert_eq!(sink.success_condition.as_deref(), Some("answer.body.ok == true"));
    }

    #[test]
    fn an_absent_field_has_the_documented_default() {
        let sink = parse(&json!({})).unwrap();
        assert_eq!(sink.retry, Retry { give_up_after_seconds: 604_800, delay_seconds: 2, max_delay_seconds: 300 });
        assert_eq!((sink.timeout_seconds, sink.format, sink.ordering), (10, Format::CloudEvent, Ordering::None));
        let template = parse(&json!({"format": "Template", "template": {"body": "{}"}})).unwrap();
        assert!(matches!(template.format, Format::Template(source) if source.content_type == "application/json"));
    }

    #[test]
    fn a_template_that_does_not_compile_is_rejected_with_field_and_line() {
        let template = |template: Value| parse(&json!({"format": "Template", "template": template})).unwrap_err();
        let body = template(json!({"body": "{\n  \"title\": {{ event.data.title }\n}"}));
        assert!(body.starts_with("spec.sinks[cms].template.body does not compile: line 2: "), "{body}");
        let header = template(json!({"body": "{}", "headers": {"Host": "x"}}));
        assert!(header.starts_with("spec.sinks[cms].template.headers must not set Host"), "{header}");
    }

    #[test]
    fn format_and_template_must_match() {
        assert!(parse(&json!({"format": "Template"})).unwrap_err().contains("template is missing"));
        let raw = parse(&json!({"format": "Raw", "template": {"body": "{}"}})).unwrap_err();
        assert!(raw.contains("template must be left out"), "{raw}");
    }
}

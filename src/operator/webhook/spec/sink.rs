//! A sink of the spec, parsed. Its template is compiled here too, so that a mistake shows on the custom resource and
//! not in the receiver.

use std::collections::BTreeSet;

use url::Url;

use super::{InvalidSpec, event_types, invalid, whole};
use crate::{
    api::{SecretKeyReference, sink as api},
    linktree::event::EventType,
    route::{Format, Ordering, Retry, TemplateSource, template::Template},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    pub name: String,
    pub url: Url,
    pub auth: Option<SecretKeyReference>,
    pub signing: Option<SecretKeyReference>,
    pub events: BTreeSet<EventType>,
    pub format: Format,
    pub ordering: Ordering,
    pub timeout_seconds: u32,
    pub retry: Retry,
}

impl Sink {
    pub(super) fn parse(sink: &api::Sink) -> Result<Self, InvalidSpec> {
        let api::Sink { name, http, events, format, template, signing_secret_ref, delivery } = sink;
        let field = |of: &str| format!("sinks[{name}].{of}");
        let url = Url::parse(&http.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let api::Delivery { timeout_seconds, ordering, retry } = delivery.clone().unwrap_or_default();
        let retry = retry.unwrap_or_default();
        Ok(Sink {
            name: name.clone(),
            url: url.ok_or_else(|| invalid(field("http.url"), "is no http:// or https:// URL"))?,
            auth: http.auth_secret_ref.clone(),
            signing: signing_secret_ref.clone(),
            events: event_types(events),
            format: parse_format(*format, template.as_ref()).map_err(|(of, problem)| invalid(field(&of), &problem))?,
            ordering: match ordering {
                None | Some(api::Ordering::None) => Ordering::None,
                Some(api::Ordering::ByResource) => Ordering::ByResource,
            },
            timeout_seconds: whole(field("delivery.timeoutSeconds"), timeout_seconds.unwrap_or(10))?,
            retry: Retry {
                limit: whole(field("delivery.retry.limit"), retry.limit.unwrap_or(8))?,
                delay_seconds: whole(field("delivery.retry.delaySeconds"), retry.delay_seconds.unwrap_or(2))?,
                max_delay_seconds: whole(
                    field("delivery.retry.maxDelaySeconds"),
                    retry.max_delay_seconds.unwrap_or(300),
                )?,
            },
        })
    }

    /// The Secret keys that requests to this sink need.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretKeyReference> {
        self.auth.iter().chain(&self.signing)
    }
}

/// The Secrets a sink speaks of, parsed or not.
pub(super) fn referenced_secrets(sink: &api::Sink) -> impl Iterator<Item = &SecretKeyReference> {
    sink.http.auth_secret_ref.iter().chain(&sink.signing_secret_ref)
}

/// The format, or the field that is wrong and what is wrong with it.
fn parse_format(format: Option<api::Format>, template: Option<&api::Template>) -> Result<Format, (String, String)> {
    match (format.unwrap_or(api::Format::CloudEvent), template) {
        (api::Format::CloudEvent, None) => Ok(Format::CloudEvent),
        (api::Format::CloudEventStructured, None) => Ok(Format::CloudEventStructured),
        (api::Format::Raw, None) => Ok(Format::Raw),
        (api::Format::Template, Some(template)) => {
            let api::Template { body, content_type, headers } = template.clone();
            let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
            let source = TemplateSource { body, content_type, headers };
            Template::compile(&source).map_err(|error| (format!("template.{}", error.field), error.problem))?;
            Ok(Format::Template(source))
        }
        (api::Format::Template, None) => Err(("template".to_owned(), "is missing: format is Template".to_owned())),
        (api::Format::CloudEvent | api::Format::CloudEventStructured | api::Format::Raw, Some(_)) => {
            Err(("template".to_owned(), "must be left out: format is not Template".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(fields: &Value) -> Result<Sink, String> {
        let mut sink = json!({"name": "cms", "http": {"url": "https://cms.example/in"}});
        sink.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Sink::parse(&serde_json::from_value(sink).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_has_the_documented_default() {
        let sink = parse(&json!({})).unwrap();
        assert_eq!(sink.retry, Retry { limit: 8, delay_seconds: 2, max_delay_seconds: 300 });
        assert_eq!((sink.timeout_seconds, sink.format, sink.ordering), (10, Format::CloudEvent, Ordering::None));
        let template = parse(&json!({"format": "Template", "template": {"body": "{}"}})).unwrap();
        assert!(matches!(template.format, Format::Template(source) if source.content_type == "application/json"));
    }

    #[test]
    fn a_template_that_does_not_compile_is_refused_with_field_and_line() {
        let template = |template: Value| parse(&json!({"format": "Template", "template": template})).unwrap_err();
        let body = template(json!({"body": "{\n  \"title\": {{ event.data.title }\n}"}));
        assert!(body.starts_with("spec.sinks[cms].template.body does not compile: line 2: "), "{body}");
        let header = template(json!({"body": "{}", "headers": {"Host": "x"}}));
        assert!(header.starts_with("spec.sinks[cms].template.headers must not set Host"), "{header}");
    }

    #[test]
    fn format_and_template_must_fit() {
        assert!(parse(&json!({"format": "Template"})).unwrap_err().contains("template is missing"));
        let raw = parse(&json!({"format": "Raw", "template": {"body": "{}"}})).unwrap_err();
        assert!(raw.contains("template must be left out"), "{raw}");
    }
}

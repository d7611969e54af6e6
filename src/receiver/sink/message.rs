//! Builds the request for an event: header and body in the sink's format, credentials, signature, trace. Pure: time and
//! randomness are passed in.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use sha2::{Digest, Sha256};

use super::{
    cloudevent::{self, CloudEvent},
    destination::{Destination, Form},
    failure::Failure,
    signature,
};
use crate::{receiver::journal::Pending, route::WebhookName};

/// A request to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub header: HeaderMap,
    pub body: Bytes,
}

impl Destination {
    /// The request for `event` at `now` (seconds since the epoch). `attempt` is random: it identifies this attempt in
    /// the trace that all attempts of an event share.
    ///
    /// # Errors
    /// [`Failure::Unfit`], if the event cannot be converted to the sink's format.
    pub fn message(&self, event: &Pending, attempt: u64, now: i64) -> Result<Message, Failure> {
        let Message { mut header, body } = self.form(event)?;
        if let Some(authorization) = &self.authorization {
            header.insert(AUTHORIZATION, authorization.clone());
        }
        // These values are printable ASCII, which is always a valid header value.
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                header.insert(name, value);
            }
        };
        if let Some(key) = &self.signing_key {
            let id = signature::message_id(&event.id);
            set(HeaderName::from_static("webhook-signature"), &signature::sign(key, &id, now, &body));
            set(HeaderName::from_static("webhook-timestamp"), &now.to_string());
            set(HeaderName::from_static("webhook-id"), &id);
        }
        set(HeaderName::from_static("traceparent"), &traceparent(&self.webhook, event, attempt));
        Ok(Message { header, body })
    }

    fn form(&self, event: &Pending) -> Result<Message, Failure> {
        let typed = |content_type: HeaderValue| HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        Ok(match &self.form {
            Form::CloudEvent => {
                Message { header: CloudEvent::new(&self.webhook, event).binary(), body: event.body.clone() }
            }
            Form::CloudEventStructured => Message {
                header: typed(cloudevent::STRUCTURED),
                body: CloudEvent::new(&self.webhook, event).structured(),
            },
            Form::Raw => {
                Message { header: typed(HeaderValue::from_static("application/json")), body: event.body.clone() }
            }
            Form::Template(template) => {
                let body = cloudevent::view(event).and_then(|view| template.render(view));
                let body = body.map_err(|problem| Failure::Unfit { problem })?;
                Message { header: template.header().clone(), body: body.into() }
            }
        })
    }
}

/// W3C Trace Context: one trace per event, derived from its identity so that all attempts share it, also after a
/// restart, and one span per attempt.
fn traceparent(webhook: &WebhookName, event: &Pending, attempt: u64) -> String {
    let WebhookName { namespace, name } = webhook;
    let digest = Sha256::digest(format!("{namespace}/{name}\n{}\n{}\n{}", event.position, event.sent_at, event.id));
    // A span id of zeros is invalid.
    format!("00-{}-{:016x}-01", hex::encode(&digest[..16]), attempt.max(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use url::Url;

    use super::*;
    use crate::{
        linktree::{event::EventType, secret::Secret},
        receiver::{journal::tries::Tries, sink::failure::Suspect},
        route::{Format, Sink, TemplateSource},
    };

    const BODY: &str = r#"{"type":"link.created","data":{"link_id":"l1","title":"<b>A</b>\"B"},"timestamp":1}"#;

    fn event(id: &str, attempts: u32) -> Pending {
        let tries = Tries { attempts, ..Tries::default() };
        let body = Bytes::from_static(BODY.as_bytes());
        Pending {
            position: 1,
            tries,
            id: id.into(),
            event_type: EventType::LinkCreated,
            sent_at: 1_700_000_000,
            body,
            replayed: false,
        }
    }

    fn destination(edit: impl FnOnce(&mut Sink)) -> Destination {
        let mut sink = Sink::new("cms", Url::parse("http://cms.example/in").unwrap());
        edit(&mut sink);
        Destination::new(&WebhookName { namespace: "marketing".into(), name: "links".into() }, &sink).unwrap().unwrap()
    }

    fn template(body: &str) -> Format {
        let content_type = "application/json".to_owned();
        Format::Template(TemplateSource { body: body.to_owned(), content_type, headers: BTreeMap::new() })
    }

    #[test]
    fn each_format_has_its_content_type_and_body() {
        for (format, content_type, body) in [
            (Format::CloudEvent, "application/json", BODY.to_owned()),
            (Format::Raw, "application/json", BODY.to_owned()),
            (template(r#"{"t": "{{ event.data.title }}"}"#), "application/json", r#"{"t": "A\"B"}"#.to_owned()),
        ] {
            let message = destination(|sink| sink.format = format.clone()).message(&event("d1", 0), 1, 2).unwrap();
            assert_eq!(
                (&message.header["content-type"], &message.body[..]),
                (&content_type.parse().unwrap(), body.as_bytes())
            );
            assert_eq!(message.header.contains_key("ce-id"), format == Format::CloudEvent);
        }
        let structured =
            destination(|sink| sink.format = Format::CloudEventStructured).message(&event("d1", 0), 1, 2).unwrap();
        assert_eq!(structured.header["content-type"], cloudevent::STRUCTURED);
    }

    #[test]
    fn an_event_that_does_not_fit_the_format_is_not_sent() {
        let destination = destination(|sink| sink.format = template("{{ event.data.none }}"));
        let failure = destination.message(&event("d1", 0), 1, 2).unwrap_err();
        assert_eq!(failure.to_string(), "not sent: line 1: uses a field the event does not have");
        assert_eq!(failure.suspect(), Suspect::Event);
    }

    #[test]
    fn attempts_share_a_trace_and_have_a_span_each() {
        let destination = destination(|_| {});
        let trace = |id: &str, attempts, attempt| {
            destination.message(&event(id, attempts), attempt, 2).unwrap().header["traceparent"]
                .to_str()
                .unwrap()
                .to_owned()
        };
        let (first, again, other) = (trace("d1", 0, 7), trace("d1", 3, 8), trace("d2", 0, 7));
        assert!(first.starts_with("00-") && first.ends_with("-0000000000000007-01") && first.len() == 55, "{first}");
        assert_eq!(first[..35], again[..35]);
        assert_ne!(first, again);
        assert_ne!(first[..35], other[..35]);
        assert!(trace("d1", 0, 0).ends_with("-0000000000000001-01"), "a span of zeros is invalid");
    }

    #[test]
    fn debug_shows_the_scheme_and_host_of_the_url_only() {
        let shown = destination(|sink| {
            let url = "https://user:pa55@cms.example/services/T0K3N?key=K3Y#fragm3nt";
            *sink = Sink::new("cms", Url::parse(url).unwrap());
            (sink.bearer, sink.signing_secret) = (Some(Secret::new("b34rer-b34rer")), Some(Secret::new("s1gning")));
        });
        let shown = format!("{shown:?}");
        assert!(shown.contains("https://cms.example"), "{shown}");
        for secret in ["pa55", "T0K3N", "K3Y", "fragm3nt", "b34rer", "s1gning"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }

    #[test]
    fn nothing_is_sent_without_its_credential() {
        let webhook = WebhookName { namespace: "marketing".into(), name: "links".into() };
        let ready = |edit: fn(&mut Sink)| {
            let mut sink = Sink::new("cms", Url::parse("http://cms.example/in").unwrap());
            edit(&mut sink);
            Destination::new(&webhook, &sink).unwrap().is_some()
        };
        assert!(ready(|_| {}));
        assert!(!ready(|sink| sink.bearer = Some(Secret::new("eyJh.\neyJz"))));
        assert!(!ready(|sink| sink.signing_secret = Some(Secret::new("whsec_s3cret!"))));
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let destination = destination(|sink| {
            sink.bearer = Some(Secret::new("t0ken"));
            sink.signing_secret = Some(Secret::new("s3cret"));
        });
        let message = destination.message(&event("d.1", 0), 1, 1_700_000_100).unwrap();
        assert_eq!(message.header["authorization"], "Bearer t0ken");
        assert_eq!(
            (&message.header["webhook-id"], &message.header["webhook-timestamp"]),
            (&"d%2E1".parse().unwrap(), &"1700000100".parse().unwrap())
        );
        assert!(message.header["webhook-signature"].to_str().unwrap().starts_with("v1,"));
        let shown = format!("{message:?} {destination:?}");
        assert!(!shown.contains("t0ken") && !shown.contains("s3cret"), "{shown}");
    }
}

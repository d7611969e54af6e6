//! Maps an event to a CloudEvent (CloudEvents 1.0). In binary mode the attributes are headers and the delivery's
//! unmodified body is the data (HTTP protocol binding 3.1); in structured mode all of it is one JSON object (JSON
//! format 3). Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use crate::{
    linktree::{event::EventType, json},
    receiver::{ingest::event::half_digest, journal::Pending},
    route::{
        WebhookName,
        cloudevent::{event_type, source},
    },
};

/// The prefix of `dataschema`, which names the shape of each documented type's data. It is only a name and need not
/// resolve. Another shape is another version.
const SCHEMA_PREFIX: &str = "https://webhooks.linktree-operator.dev/schemas/v1/";
/// The longest subject; Linktree's ids and user names have under 100 characters.
const SUBJECT_MAX: usize = 256;

/// A CloudEvent, with its attributes in the order of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent {
    attributes: Vec<(&'static str, String)>,
    /// The extension `replayed`: present, and true, if the event is sent again on request.
    replayed: bool,
    body: Bytes,
}

impl CloudEvent {
    /// The CloudEvent of `event`, received by `webhook`.
    #[must_use]
    pub fn new(webhook: &WebhookName, event: &Pending) -> Self {
        let mut attributes = vec![
            ("specversion", "1.0".to_owned()),
            ("id", event.id.clone()),
            ("source", source(webhook)),
            ("type", event_type(&event.event_type)),
            ("datacontenttype", "application/json".to_owned()),
        ];
        attributes.extend(schema(&event.event_type).map(|schema| ("dataschema", schema)));
        attributes.extend(resource(&event.body).map(|subject| ("subject", subject)));
        attributes.extend(time(event.sent_at).map(|time| ("time", time)));
        // Equal for equal bodies, whatever the delivery id: docs/adr/0007.
        attributes.push(("bodydigest", hex::encode(half_digest(&event.body))));
        CloudEvent { attributes, replayed: event.replayed, body: event.body.clone() }
    }

    /// The headers of binary mode; the body is the delivery's.
    #[must_use]
    pub fn binary(&self) -> HeaderMap {
        let mut header = HeaderMap::with_capacity(self.attributes.len() + 5);
        for (name, value) in &self.attributes {
            let key =
                if *name == "datacontenttype" { Ok(CONTENT_TYPE) } else { format!("ce-{name}").parse::<HeaderName>() };
            // `encode` returns printable ASCII, which is always a valid header value.
            if let (Ok(key), Ok(value)) = (key, HeaderValue::try_from(encode(value))) {
                header.insert(key, value);
            }
        }
        if self.replayed {
            header.insert(HeaderName::from_static("ce-replayed"), HeaderValue::from_static("true"));
        }
        header
    }

    /// The body of structured mode. It contains the delivery's body byte for byte: as `data` if it is JSON in UTF-8,
    /// otherwise in base64.
    #[must_use]
    pub fn structured(&self) -> Bytes {
        use base64::prelude::{BASE64_STANDARD, Engine};
        let mut attributes: Map<String, Value> =
            self.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        if self.replayed {
            attributes.insert("replayed".to_owned(), true.into());
        }
        let mut text = Value::Object(attributes).to_string().into_bytes();
        // Replace the closing brace by one more member.
        text.pop();
        // Ignored strings are not checked for UTF-8.
        let json = str::from_utf8(&self.body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        if json {
            text.extend_from_slice(b",\"data\":");
            text.extend_from_slice(&self.body);
        } else {
            text.extend_from_slice(format!(",\"data_base64\":\"{}\"", BASE64_STANDARD.encode(&self.body)).as_bytes());
        }
        text.push(b'}');
        text.into()
    }
}

/// The content type of structured mode.
pub const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");

/// The `event` that filters and templates see: the delivery's `type`, `data` and `timestamp`, with the `id`, `time` and
/// `subject` of the CloudEvent.
///
/// # Errors
/// If the body is not a JSON object. The message contains no part of it.
pub fn view(event: &Pending) -> Result<Value, String> {
    let body = json::read(&event.body)
        .map_err(|error| format!("the event is not JSON (line {}, column {})", error.line(), error.column()))?;
    let Value::Object(mut view) = body else { return Err("the event is not a JSON object".to_owned()) };
    view.insert("id".to_owned(), event.id.as_str().into());
    view.insert("type".to_owned(), event.event_type.as_str().into());
    view.insert("time".to_owned(), time(event.sent_at).into());
    view.insert("subject".to_owned(), resource(&event.body).into());
    Ok(Value::Object(view))
}

/// The resource that an event concerns: the id of its link, or the profile's user name.
#[must_use]
pub fn resource(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct About {
        data: Names,
    }
    #[derive(Deserialize)]
    struct Names {
        link_id: Option<Value>,
        username: Option<Value>,
    }
    // A float may stand for an integer beyond 64 bits.
    let exact = |About { data }: &About| ![&data.link_id, &data.username].into_iter().flatten().any(Value::is_f64);
    // Slower, and reads everything that the sinks read.
    let odd = || serde_json::from_value(json::read(body).ok()?).ok();
    let About { data: Names { link_id, username } } = serde_json::from_slice(body).ok().filter(exact).or_else(odd)?;
    let named = |value: Option<Value>| match value? {
        Value::String(text) => {
            let text = json::written(&text).map_or(text.clone(), str::to_owned);
            (1..=SUBJECT_MAX).contains(&text.len()).then_some(text)
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    named(link_id).or_else(|| named(username))
}

fn schema(event_type: &EventType) -> Option<String> {
    event_type.is_known().then(|| format!("{SCHEMA_PREFIX}{event_type}"))
}

fn time(second: i64) -> Option<String> {
    Some(Timestamp::from_second(second).ok()?.to_string())
}

/// Percent-encodes all that a header value must not contain: everything except printable ASCII, and space, `"`, `%`.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::receiver::journal::tries::Tries;

    fn event(id: &str, event_type: &str, body: &'static str) -> Pending {
        let (event_type, body) = (EventType::named(event_type), Bytes::from_static(body.as_bytes()));
        let tries = Tries::default();
        Pending { position: 1, tries, id: id.into(), event_type, sent_at: 1_700_000_000, body, replayed: false }
    }

    fn cloud_event(id: &str, event_type: &str, body: &'static str) -> CloudEvent {
        CloudEvent::new(
            &WebhookName { namespace: "marketing".into(), name: "links".into() },
            &event(id, event_type, body),
        )
    }

    #[test]
    fn an_event_has_the_attributes_consumers_rely_on() {
        let header = cloud_event("dlv_1", "link.created", r#"{"data": {"link_id": "l 1"}}"#).binary();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "dlv_1"),
            ("ce-type", "dev.linktree-operator.link.created"),
            ("ce-source", "/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces/marketing/linktreewebhooks/links"),
            ("ce-time", "2023-11-14T22:13:20Z"),
            ("ce-subject", "l%201"),
            ("ce-dataschema", "https://webhooks.linktree-operator.dev/schemas/v1/link.created"),
            ("ce-bodydigest", "88ee2a4721b8145b03d73b2b4927e3f1"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(header[name], value, "{name}");
        }
        assert_eq!(header.len(), 9);
    }

    #[test]
    fn an_event_that_is_sent_again_says_so_in_both_modes() {
        let first = cloud_event("d", "link.created", "{}");
        let again = CloudEvent { replayed: true, ..first.clone() };
        let structured = |event: &CloudEvent| serde_json::from_slice::<Value>(&event.structured()).unwrap();
        assert_eq!((first.binary().get("ce-replayed"), structured(&first).get("replayed")), (None, None));
        assert_eq!(
            (&again.binary()["ce-replayed"], &structured(&again)["replayed"]),
            (&"true".parse().unwrap(), &json!(true))
        );
        assert_eq!(structured(&again)["id"], structured(&first)["id"]);
    }

    #[test]
    fn input_of_a_sender_cannot_break_out_of_a_header() {
        let header = cloud_event("a\"b%c~d", "a b\r\nx: é", "").binary();
        assert_eq!(header["ce-id"], "a%22b%25c~d");
        assert_eq!(header["ce-type"], "dev.linktree-operator.a%20b%0D%0Ax:%20%C3%A9");
        assert!(!header.contains_key("ce-dataschema"), "an unknown type has no schema");
    }

    #[test]
    fn structured_mode_contains_the_unmodified_body() {
        let body = r#"{"type":"link.created", "data":{"position":1.0e2,"link_id":"ü"}}"#;
        let structured = cloud_event("dlv\"1", "link.created", body).structured();
        assert!(std::str::from_utf8(&structured).unwrap().contains(body));
        let structured: Value = serde_json::from_slice(&structured).unwrap();
        assert_eq!((&structured["id"], &structured["subject"]), (&json!("dlv\"1"), &json!("ü")));
        assert_eq!(structured["data"]["data"]["position"], json!(100.0));
        let broken: Value = serde_json::from_slice(&cloud_event("d", "x", "no json").structured()).unwrap();
        assert_eq!((&broken["data_base64"], broken.get("data")), (&json!("bm8ganNvbg=="), None));
        let latin = Bytes::from_static(b"{\"data\":{\"title\":\"Caf\xe9\"}}");
        let latin = CloudEvent { attributes: vec![("id", "d".to_owned())], replayed: false, body: latin }.structured();
        assert_eq!(latin, r#"{"id":"d","data_base64":"eyJkYXRhIjp7InRpdGxlIjoiQ2Fm6SJ9fQ=="}"#, "not UTF-8");
    }

    #[test]
    fn the_subject_is_the_link_or_the_profile() {
        for (body, expected) in [
            (r#"{"data": {"link_id": "l1", "username": "u"}}"#, Some("l1")),
            (r#"{"data": {"link_id": 7}}"#, Some("7")),
            (r#"{"data": {"username": "u"}}"#, Some("u")),
            (r#"{"data": {"link_id": ""}}"#, None),
            (r#"{"data": {"link_id": {}}}"#, None),
            (r#"{"data": []}"#, None),
            (r#"{"data": {"link_id": "l1", "link_id": "l2", "title": "\ud83d"}}"#, Some("l2")),
            ("\u{FEFF}{\"data\": {\"link_id\": \"l1\"}}", Some("l1")),
            (r#"{"data": {"link_id": 1e999}}"#, Some("1e999")),
            (r#"{"data": {"link_id": 123456789012345678901}}"#, Some("123456789012345678901")),
            ("", None),
        ] {
            assert_eq!(resource(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn filters_and_templates_see_the_delivery_and_its_identity() {
        let view =
            view(&event("dlv_1", "link.created", r#"{"type":"x","data":{"link_id":"l1"},"timestamp":1}"#)).unwrap();
        assert_eq!(
            view,
            json!({
                "id": "dlv_1", "type": "link.created", "time": "2023-11-14T22:13:20Z", "subject": "l1",
                "data": {"link_id": "l1"}, "timestamp": 1,
            })
        );
        assert_eq!(super::view(&event("d", "x", "[]")).unwrap_err(), "the event is not a JSON object");
        let broken = super::view(&event("d", "x", r#"{"data": s3cret}"#)).unwrap_err();
        assert_eq!(broken, "the event is not JSON (line 1, column 10)");
    }
}

//! An event as a CloudEvent in binary mode (CloudEvents 1.0, HTTP protocol binding 3.1): the attributes in the header,
//! the delivery's body, untouched, as the data. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use jiff::Timestamp;

use super::journal::Pending;
use crate::route::WebhookName;

/// Where the objects live that events come from; `source` is the webhook's path in the Kubernetes API, as is the
/// custom there.
const SOURCE: &str = "/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces";
const SOURCE_RESOURCE: &str = "linktreewebhooks";
/// What Linktree's type is prefixed with: CloudEvents asks for a reverse-DNS name of whoever defines the type.
const TYPE_PREFIX: &str = "dev.linktree-operator.";

/// The attributes of `event`, which came in through `webhook`.
#[must_use]
pub fn header(webhook: &WebhookName, event: &Pending) -> HeaderMap {
    let WebhookName { namespace, name } = webhook;
    let mut header = HeaderMap::with_capacity(8);
    header.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut attribute = |name: &'static str, value: &str| {
        // What `encode` returns is printable ASCII, which is always a header value.
        if let Ok(value) = HeaderValue::try_from(encode(value)) {
            header.insert(HeaderName::from_static(name), value);
        }
    };
    attribute("ce-specversion", "1.0");
    attribute("ce-id", &event.id);
    attribute("ce-source", &format!("{SOURCE}/{namespace}/{SOURCE_RESOURCE}/{name}"));
    attribute("ce-type", &format!("{TYPE_PREFIX}{}", event.event_type));
    if let Ok(time) = Timestamp::from_second(event.sent_at) {
        attribute("ce-time", &time.to_string());
    }
    header
}

/// Percent-encodes what a header value must not hold as it is: everything but printable ASCII, and space, `"` and `%`.
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
    use bytes::Bytes;

    use super::*;
    use crate::linktree::event::EventType;

    fn attributes(id: &str, event_type: &str) -> HeaderMap {
        let webhook = WebhookName { namespace: "marketing".into(), name: "links".into() };
        let event = Pending {
            position: 1,
            attempts: 0,
            id: id.into(),
            event_type: EventType::named(event_type),
            sent_at: 1_700_000_000,
            body: Bytes::new(),
        };
        header(&webhook, &event)
    }

    #[test]
    fn an_event_has_the_attributes_consumers_rely_on() {
        let header = attributes("dlv_1", "link.created");
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "dlv_1"),
            ("ce-type", "dev.linktree-operator.link.created"),
            ("ce-source", "/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces/marketing/linktreewebhooks/links"),
            ("ce-time", "2023-11-14T22:13:20Z"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(header[name], value, "{name}");
        }
    }

    #[test]
    fn what_a_sender_chose_cannot_break_out_of_a_header() {
        let header = attributes("a\"b%c~d", "a b\r\nx: é");
        assert_eq!(header["ce-id"], "a%22b%25c~d");
        assert_eq!(header["ce-type"], "dev.linktree-operator.a%20b%0D%0Ax:%20%C3%A9");
    }
}

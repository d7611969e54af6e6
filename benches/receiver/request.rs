//! Signed requests, built before the measurement: deliveries of 1 KiB, each with its own id and body.

use linktree_operator::{
    clock,
    linktree::{
        headers::{self, SentAt},
        secret::Secret,
        signature::Signature,
    },
};

/// The length of a body.
const BODY_BYTES: usize = 1024;
/// The signing secret of all requests.
pub(crate) const SECRET: &str = "a-signing-secret-for-benchmarks-only";

/// Requests in one contiguous buffer.
#[derive(Debug)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// Builds `count` deliveries to `path`, unique within and across runs.
    pub(crate) fn build(count: usize, path: &str) -> Self {
        let secret = Secret::new(SECRET);
        let (run, now) = (rand::random::<u32>(), clock::now().as_second());
        let sent_at = SentAt::from_seconds(now).unwrap_or_else(|| unreachable!("now is a timestamp"));
        let mut requests = Requests { bytes: Vec::with_capacity(count * 1400), ends: Vec::with_capacity(count) };
        for number in 0..count {
            let body = body(run, number, now);
            let signature = Signature::sign(&secret, &sent_at, body.as_bytes()).to_hex();
            // qhook's generic HMAC covers only the body.
            let plain = plain_hmac(body.as_bytes());
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: receiver.example\r\nuser-agent: bench\r\ncontent-type: application/json\r\n\
                 {}: {signature}\r\n{}: {now}\r\n{}: {}\r\nx-webhook-signature: {plain}\r\ncontent-length: {}\r\n\r\n",
                headers::SIGNATURE,
                headers::TIMESTAMP,
                headers::DELIVERY_ID,
                delivery_id(run, number),
                body.len()
            );
            requests.bytes.extend_from_slice(head.as_bytes());
            requests.bytes.extend_from_slice(body.as_bytes());
            requests.ends.push(requests.bytes.len());
        }
        requests
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }
}

/// A delivery id without order, like a UUID. It contains the number, so that a sink can identify the request.
fn delivery_id(run: u32, number: usize) -> String {
    format!("dlv_{run:08x}_{number:08}_{:08x}", rand::random::<u32>())
}

/// The number of the request in an id.
pub(crate) fn number(delivery_id: &str) -> Option<usize> {
    delivery_id.split('_').nth(2)?.parse().ok()
}

fn body(run: u32, number: usize, now: i64) -> String {
    let frame = format!(
        r#"{{"type":"link.created","data":{{"link_id":"lnk_{run:08x}{number:08}","url":"https://example.com/{number}","position":{position},"title":""}},"timestamp":{now}}}"#,
        position = number % 50
    );
    let title = "A link in a list of links. ".repeat(BODY_BYTES / 27 + 1);
    let title = &title[..BODY_BYTES.saturating_sub(frame.len())];
    frame.replace(r#""title":"""#, &format!(r#""title":"{title}""#))
}

fn plain_hmac(body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()) else { return String::new() };
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

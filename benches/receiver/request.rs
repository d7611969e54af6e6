//! Signed requests, built before the clock runs: deliveries of 1 KiB, each with an id and a body of its own.

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
/// What everything is signed with.
pub(crate) const SECRET: &str = "a-signing-secret-for-benchmarks-only";

/// Requests one behind the other in one piece of memory.
#[derive(Debug)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// `count` deliveries to `path`. No two runs, and no two requests of a run, are the same delivery.
    pub(crate) fn build(count: usize, path: &str) -> Self {
        let secret = Secret::new(SECRET);
        let (run, now) = (rand::random::<u32>(), clock::now().as_second());
        let sent_at = SentAt::from_seconds(now).unwrap_or_else(|| unreachable!("now is a timestamp"));
        let mut requests = Requests { bytes: Vec::with_capacity(count * 1400), ends: Vec::with_capacity(count) };
        for number in 0..count {
            let body = body(run, number, now);
            let signature = Signature::sign(&secret, &sent_at, body.as_bytes()).to_hex();
            // qhook's generic HMAC is over the body alone.
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

/// Ids have no order, as a UUID has none. The number comes first, so that a sink can tell which request it was.
fn delivery_id(run: u32, number: usize) -> String {
    format!("dlv_{run:08x}_{number:08}_{:08x}", rand::random::<u32>())
}

/// The number of the request that an id was made for.
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

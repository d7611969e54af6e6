//! Discards the body of a request that was answered before it was read. If the connection closed instead, the kernel
//! would reset it, and a proxy that still sends would report 502 in place of the answer. Nothing is buffered.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, header::EXPECT};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::verdict::Verdict;

/// The most that is read of one body.
const BYTES: usize = 1024 * 1024;
/// The longest time for it.
const TIME: Duration = Duration::from_secs(1);

/// Discards what is left of `body` while the answer is sent, up to [`BYTES`]. A sender of more is not read any more, so
/// that it turns to the answer; after [`TIME`] the connection is closed.
pub(super) fn discard(body: Incoming, header: &HeaderMap, verdict: Verdict) {
    if !body.is_end_stream() && !waits_for_permission(header, verdict) {
        tokio::spawn(timeout(TIME, drain(body)));
    }
}

/// Whether the sender has not begun its body: reading it would ask for the body with a `100 Continue`.
fn waits_for_permission(header: &HeaderMap, verdict: Verdict) -> bool {
    let read_in_part = [Verdict::TooLarge, Verdict::Overloaded, Verdict::BodyTimeout, Verdict::BodyBroken];
    header.contains_key(EXPECT) && !read_in_part.contains(&verdict)
}

async fn drain(mut body: Incoming) {
    let mut left = BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => pending().await,
        }
    }
}

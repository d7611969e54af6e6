//! Whether the registered URL leads to our receiver, by what an unsigned request to it got.

use url::Url;

use crate::{
    api::condition::Reason,
    operator::{
        conditions::{Finding, Status},
        webhook::observed::ProbeResult,
    },
};

pub(super) fn decide(probe: &ProbeResult, url: &Url) -> Finding {
    match probe {
        ProbeResult::NotProbed => Finding::new(Status::Unknown, Reason::NotProbed, format!("{url} was not tried yet")),
        ProbeResult::Succeeded => Finding::new(true, Reason::ProbeSucceeded, format!("{url} leads to the receiver")),
        ProbeResult::DnsFailed { problem } => Finding::new(
            false,
            Reason::DNSFailed,
            format!("the host of {url} does not resolve: {problem}; create its DNS record"),
        ),
        ProbeResult::ConnectionFailed { problem } => Finding::new(
            false,
            Reason::ConnectionFailed,
            format!("no answer from {url}: {problem}; route it to the receiver's Service"),
        ),
        ProbeResult::TlsFailed { problem } => Finding::new(
            false,
            Reason::TLSFailed,
            format!("no trusted TLS connection to {url}: {problem}; Linktree will not deliver to it either"),
        ),
        ProbeResult::Unexpected { problem } => Finding::new(
            false,
            Reason::UnexpectedResponse,
            format!("something else than the receiver answers at {url}: {problem}; route it to the receiver's Service"),
        ),
    }
}

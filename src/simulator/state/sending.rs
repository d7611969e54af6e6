//! The requests of an attempt: signed, and changed by a fault if one applies. Pure: they are planned here and sent by
//! `deliver`.

use std::time::Duration;

use bytes::Bytes;

use super::{
    deliveries::{Answer, Signed},
    faults::DeliveryFault,
};
use crate::linktree::{headers::SentAt, secret::Secret, signature::Signature};

/// One HTTP request of the sender.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub url: String,
    pub delivery_id: String,
    /// The signature and timestamp headers; `None`: without them.
    pub signed: Option<Signed>,
    pub body: Bytes,
}

impl Request {
    /// A request signed with `secret` at `seconds` since the epoch; unsigned if the header's grammar cannot express
    /// that time (before 1970, after 5138).
    #[must_use]
    pub fn signed(url: String, delivery_id: String, secret: &Secret, seconds: i64, body: Bytes) -> Self {
        let signed = SentAt::from_seconds(seconds).map(|sent_at| {
            let signature = Signature::sign(secret, &sent_at, &body);
            (sent_at, signature)
        });
        Request { url, delivery_id, signed, body }
    }
}

/// The plan of an attempt: its requests, and the response that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub delivery: String,
    /// The signature before any fault; a retry without a new signature repeats it.
    pub signed: Option<Signed>,
    pub delay: Duration,
    /// The response to the first one counts.
    pub requests: Vec<Request>,
    /// Whether the requests are sent at once, instead of one after another.
    pub at_once: bool,
    /// A fault's response, which replaces the one to the first request.
    pub instead: Option<Answer>,
}

impl Plan {
    /// Plans an attempt that sends `request`, changed by `fault`. [`DeliveryFault::Replay`] sends it again under
    /// `fresh_id`.
    #[must_use]
    pub fn new(request: Request, fault: Option<&DeliveryFault>, fresh_id: impl FnOnce() -> String) -> Self {
        let plan = Plan {
            delivery: request.delivery_id.clone(),
            signed: request.signed.clone(),
            delay: Duration::ZERO,
            requests: Vec::new(),
            at_once: false,
            instead: None,
        };
        let lost = |problem: &str| Some(Answer::None { problem: problem.to_owned() });
        match fault {
            None => Plan { requests: vec![request], ..plan },
            Some(DeliveryFault::Status { status }) => {
                Plan { instead: Some(Answer::Status { status: *status, body: String::new() }), ..plan }
            }
            Some(DeliveryFault::Drop) => Plan { instead: lost("fault: not sent"), ..plan },
            Some(DeliveryFault::LostAnswer) => {
                Plan { requests: vec![request], instead: lost("fault: the response was lost"), ..plan }
            }
            Some(DeliveryFault::Delay { milliseconds }) => {
                Plan { delay: Duration::from_millis(*milliseconds), requests: vec![request], ..plan }
            }
            Some(DeliveryFault::Duplicate) => Plan { requests: vec![request.clone(), request], ..plan },
            Some(DeliveryFault::ConcurrentDuplicates { copies }) => {
                Plan { requests: vec![request; *copies as usize], at_once: true, ..plan }
            }
            Some(DeliveryFault::Replay) => {
                let replayed = Request { delivery_id: fresh_id(), ..request.clone() };
                Plan { requests: vec![request, replayed], ..plan }
            }
            Some(DeliveryFault::Tamper) => {
                let body = [&request.body[..], b" "].concat().into();
                Plan { requests: vec![Request { body, ..request }], ..plan }
            }
            Some(DeliveryFault::Unsigned) => Plan { requests: vec![Request { signed: None, ..request }], ..plan },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(fault: Option<&DeliveryFault>) -> Plan {
        let (url, secret) = ("https://h.example/".to_owned(), Secret::new("s3cret"));
        let request = Request::signed(url, "dlv_1".into(), &secret, 1_700_000_000, Bytes::from_static(b"{}"));
        Plan::new(request, fault, || "dlv_2".into())
    }

    fn verifies(request: &Request) -> bool {
        let signed = request.signed.as_ref();
        signed.is_some_and(|(at, signature)| signature.verifies(&Secret::new("s3cret"), at, &request.body))
    }

    #[test]
    fn a_fault_changes_the_request_or_the_response() {
        let ids = |plan: &Plan| plan.requests.iter().map(|it| it.delivery_id.clone()).collect::<Vec<_>>().join(" ");
        let good = plan(None);
        assert!(verifies(&good.requests[0]) && good.instead.is_none());
        for (fault, sent, genuine, answered) in [
            (DeliveryFault::Status { status: 503 }, "", true, false),
            (DeliveryFault::Drop, "", true, false),
            (DeliveryFault::LostAnswer, "dlv_1", true, false),
            (DeliveryFault::Delay { milliseconds: 5 }, "dlv_1", true, true),
            (DeliveryFault::Duplicate, "dlv_1 dlv_1", true, true),
            (DeliveryFault::ConcurrentDuplicates { copies: 3 }, "dlv_1 dlv_1 dlv_1", true, true),
            (DeliveryFault::Replay, "dlv_1 dlv_2", true, true),
            (DeliveryFault::Tamper, "dlv_1", false, true),
            (DeliveryFault::Unsigned, "dlv_1", false, true),
        ] {
            let plan = plan(Some(&fault));
            assert_eq!(ids(&plan), sent, "{fault:?}");
            assert_eq!(plan.requests.iter().all(verifies), genuine, "{fault:?}");
            assert_eq!(plan.instead.is_none(), answered, "{fault:?}");
            assert_eq!(plan.signed, good.signed, "{fault:?}");
        }
    }
}

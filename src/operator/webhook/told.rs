//! Answers that a poll fetched, so that the reconciliation after it does not fetch them again.

use std::net::IpAddr;

use url::Url;

use super::observed::ProbeResult;
use crate::{linktree::secret::Secret, route::status::ReceiverStatus};

/// The answers that a poll fetched from the receiver and the public URL.
#[derive(Debug, Default)]
pub struct Told {
    pub receiver: Option<(IpAddr, Secret, Option<ReceiverStatus>)>,
    pub probe: Option<(Url, ProbeResult)>,
}

impl Told {
    /// The polled status of the receiver at this address with this token: `Some(None)` if it did not answer, `None` if
    /// it was not polled.
    pub fn by_receiver(&self, address: IpAddr, admin_token: &Secret) -> Option<&Option<ReceiverStatus>> {
        let (polled, token, status) = self.receiver.as_ref()?;
        (*polled == address && token == admin_token).then_some(status)
    }

    /// The result of the poll's probe of this URL; `None` if the poll did not probe it.
    pub fn by_probe(&self, url: &Url) -> Option<&ProbeResult> {
        self.probe.as_ref().filter(|(probed, _)| probed == url).map(|(_, result)| result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn an_answer_is_valid_only_for_the_receiver_and_url_it_came_from() {
        let (token, other) = (Secret::new("admin"), Secret::new("another"));
        let (url, elsewhere) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let result = ProbeResult::Unexpected { problem: String::new() };
        let told = Told { receiver: Some((HERE, token.clone(), None)), probe: Some((url.clone(), result.clone())) };
        assert_eq!(told.by_receiver(HERE, &token), Some(&None), "no answer is a result too");
        assert_eq!(told.by_receiver(HERE, &other), None);
        assert_eq!(told.by_receiver([127, 0, 0, 2].into(), &token), None);
        assert_eq!((told.by_probe(&url), told.by_probe(&elsewhere)), (Some(&result), None));
        assert_eq!(Told::default().by_receiver(HERE, &token), None, "nothing was polled");
    }
}

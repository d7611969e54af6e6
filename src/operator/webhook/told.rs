//! Answers that a poll already has, so that the reconciliation after it does not ask twice.

use std::net::IpAddr;

use url::Url;

use super::observed::ProbeResult;
use crate::{linktree::secret::Secret, route::status::ReceiverStatus};

/// What others told during a glance.
#[derive(Debug, Default)]
pub struct Told {
    pub receiver: Option<(IpAddr, Secret, Option<ReceiverStatus>)>,
    pub probe: Option<(Url, ProbeResult)>,
}

impl Told {
    /// What the receiver at this address said to whoever holds this token, nothing included; `None` if it was not asked.
    pub fn by_receiver(&self, address: IpAddr, admin_token: &Secret) -> Option<&Option<ReceiverStatus>> {
        let (asked, with, status) = self.receiver.as_ref()?;
        (*asked == address && with == admin_token).then_some(status)
    }

    /// What a probe of this url found.
    pub fn by_probe(&self, url: &Url) -> Option<&ProbeResult> {
        self.probe.as_ref().filter(|(probed, _)| probed == url).map(|(_, result)| result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn what_was_told_counts_only_for_who_was_asked() {
        let (token, other) = (Secret::new("admin"), Secret::new("another"));
        let (url, elsewhere) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let result = ProbeResult::Unexpected { problem: String::new() };
        let told = Told { receiver: Some((HERE, token.clone(), None)), probe: Some((url.clone(), result.clone())) };
        assert_eq!(told.by_receiver(HERE, &token), Some(&None), "that it does not answer is an answer");
        assert_eq!(told.by_receiver(HERE, &other), None);
        assert_eq!(told.by_receiver([127, 0, 0, 2].into(), &token), None);
        assert_eq!((told.by_probe(&url), told.by_probe(&elsewhere)), (Some(&result), None));
        assert_eq!(Told::default().by_receiver(HERE, &token), None, "nobody was asked");
    }
}

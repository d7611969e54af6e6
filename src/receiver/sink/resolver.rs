//! Resolves the names of sinks and passes on only what may be connected to. It is asked for each new connection, so a
//! name that leads elsewhere the second time is checked the second time too.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::egress::{Denied, Egress, Reach};

/// A resolver for the sinks of one [`Reach`].
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    pub egress: Egress,
    pub reach: Reach,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Resolver { egress, reach } = self.clone();
        Box::pin(async move {
            // The port is set by whoever asked.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let checked: Result<Vec<SocketAddr>, Denied> =
                found.into_iter().map(|address| egress.check(address.ip(), reach).map(|()| address)).collect();
            // One bad address among good ones is no accident either.
            let addresses: Addrs = Box::new(checked?.into_iter());
            Ok(addresses)
        })
    }
}

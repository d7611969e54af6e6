//! Resolves the names of sinks and returns only addresses that the egress rules permit. It runs for each new
//! connection, so a name whose address changes is checked again.

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
            // The connector sets the port.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let checked: Result<Vec<SocketAddr>, Denied> =
                found.into_iter().map(|address| egress.check(address.ip(), reach).map(|()| address)).collect();
            // One denied address among permitted ones denies the name: it is no accident either.
            let addresses: Addrs = Box::new(checked?.into_iter());
            Ok(addresses)
        })
    }
}

//! Resolves names and returns only addresses that the egress rules permit. It runs for each new connection, so a name
//! whose address changes is checked again.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Denied, Egress, Reach};

/// A resolver that checks addresses.
#[derive(Clone, Debug)]
pub struct Resolver {
    egress: Egress,
    /// Names that are not checked: those of the forward proxies that the administrator has configured.
    proxies: Vec<String>,
}

impl Resolver {
    #[must_use]
    pub fn new(egress: Egress) -> Self {
        Resolver { egress, proxies: Vec::new() }
    }

    /// The resolver of a client whose requests all go through proxies with these hosts, in lower case. Such a proxy
    /// resolves the names of requests itself.
    #[must_use]
    pub fn of_proxies(egress: Egress, hosts: Vec<String>) -> Self {
        Resolver { egress, proxies: hosts }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let egress =
            (!self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(name.as_str()))).then(|| self.egress.clone());
        Box::pin(async move {
            // The connector sets the port.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let Some(egress) = egress else { return Ok(Box::new(found.into_iter()) as Addrs) };
            let reach = Reach::of_name(name.as_str());
            let checked: Result<Vec<SocketAddr>, Denied> =
                found.into_iter().map(|address| egress.check(address.ip(), reach).map(|()| address)).collect();
            // One denied address among permitted ones denies the name: it is no accident either.
            let addresses: Addrs = Box::new(checked?.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_resolved_only_to_permitted_addresses_except_that_of_a_proxy() {
        let name = || "localhost".parse::<Name>().unwrap();
        let resolver = Resolver::new(Egress::default());
        assert!(resolver.resolve(name()).await.is_err());
        let proxy = Resolver::of_proxies(Egress::default(), vec!["localhost".to_owned()]);
        assert!(proxy.resolve(name()).await.unwrap().next().is_some());
        let allowed = Egress::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(Resolver::new(allowed).resolve(name()).await.unwrap().next().is_some());
    }
}

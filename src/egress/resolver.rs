//! Resolves names and returns only addresses that the egress rules permit. It runs for each new connection, so a name
//! whose address changes is checked again.

use std::{env, net::SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use super::{Denied, Egress, Reach};

/// The environment variables that name a forward proxy.
const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

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

    /// A resolver for a client that uses the forward proxies in the environment. Such a proxy resolves the names of
    /// requests itself, so that only the proxy's own name is resolved here.
    #[must_use]
    pub fn with_proxies_of_environment(self) -> Self {
        let proxies = PROXIES.iter().filter_map(|name| proxy_host(&env::var(name).ok()?)).collect();
        Resolver { proxies, ..self }
    }
}

/// The host of a proxy's URL, which may lack the scheme.
fn proxy_host(value: &str) -> Option<String> {
    let value = value.trim();
    let url = Url::parse(value).ok().filter(Url::has_host).or_else(|| Url::parse(&format!("http://{value}")).ok());
    Some(url?.host_str()?.to_ascii_lowercase())
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

    #[test]
    fn a_proxy_is_found_by_its_host() {
        for (value, host) in [
            ("http://proxy.corp.example:3128", Some("proxy.corp.example")),
            ("http://user:pass@Proxy.corp.example", Some("proxy.corp.example")),
            ("proxy.corp.example:3128", Some("proxy.corp.example")),
            ("10.0.0.1:3128", Some("10.0.0.1")),
            ("", None),
        ] {
            assert_eq!(proxy_host(value).as_deref(), host, "{value}");
        }
    }

    #[tokio::test]
    async fn a_name_is_resolved_only_to_permitted_addresses_except_that_of_a_proxy() {
        let name = || "localhost".parse::<Name>().unwrap();
        let resolver = Resolver::new(Egress::default());
        assert!(resolver.resolve(name()).await.is_err());
        let proxy = Resolver { proxies: vec!["localhost".to_owned()], ..resolver };
        assert!(proxy.resolve(name()).await.unwrap().next().is_some());
        let allowed = Egress::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(Resolver::new(allowed).resolve(name()).await.unwrap().next().is_some());
    }
}

//! The HTTP client of the operator's own requests: to Linktree, and for probes. It connects either to an address that
//! the egress rules permit, or to a forward proxy of the environment.

use reqwest::{Certificate, Client, ClientBuilder};
use url::Url;

use super::{Denied, Egress, proxies::Proxies, resolver::Resolver};

/// The settings that all clients of the operator's own requests share.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    pub egress: Egress,
    /// Certificate authorities that are trusted besides the public ones.
    pub authorities: Vec<Certificate>,
    pub proxies: Proxies,
}

/// A client whose connections the egress rules apply to.
///
/// Behind a proxy, the name of a host is resolved by the proxy, so that only the proxy can check the addresses. The
/// client for such requests resolves no name except those of the proxies. It is a client of its own, so that a URL whose
/// host is a proxy does not lead around the rules.
#[derive(Clone, Debug)]
pub struct OutboundClient {
    egress: Egress,
    proxies: Proxies,
    direct: Client,
    /// `None` without a proxy.
    proxied: Option<Client>,
}

impl Outbound {
    /// The settings without further authorities and without a proxy.
    #[must_use]
    pub fn direct(egress: Egress) -> Self {
        Outbound { egress, ..Outbound::default() }
    }

    /// A client with these settings and the others of `builder`.
    ///
    /// # Errors
    /// If TLS cannot be configured on this machine.
    pub fn client(self, builder: impl Fn() -> ClientBuilder) -> Result<OutboundClient, reqwest::Error> {
        let Outbound { egress, authorities, proxies } = self;
        let builder = || builder().tls_certs_merge(authorities.iter().cloned()).no_proxy();
        let direct = builder().dns_resolver(Resolver::new(egress.clone())).build()?;
        let proxied = if proxies.is_any() {
            let resolver = Resolver::of_proxies(egress.clone(), proxies.hosts());
            let all = proxies.for_client()?.into_iter().fold(builder().dns_resolver(resolver), ClientBuilder::proxy);
            Some(all.build()?)
        } else {
            None
        };
        Ok(OutboundClient { egress, proxies, direct, proxied })
    }
}

impl OutboundClient {
    /// The client for a request to `url`. A host that is an address is not resolved, so it is checked here.
    ///
    /// # Errors
    /// If the egress rules deny the address.
    pub fn of(&self, url: &Url) -> Result<&Client, Denied> {
        self.egress.check_literal(url)?;
        let proxied = self.proxied.as_ref().filter(|_| self.proxies.intercept(url));
        Ok(proxied.unwrap_or(&self.direct))
    }
}

//! Egress rules: the addresses that a receiver may connect to on behalf of a sink, and the operator for a probe or to
//! reach Linktree. The author of a custom resource chooses the URL; this must not give access to addresses that only our
//! process can reach: itself, the node, a cloud's metadata service, the company's network. The rules apply to the address of the connection, whatever the URL
//! or the DNS says. Pure.
//!
//! | address | a host in the cluster (it ends in `.svc` or `.svc.cluster.local`) | any other host |
//! |---|---|---|
//! | public | yes | yes |
//! | private (RFC 1918, RFC 6598, RFC 2544, `fc00::/7`) | yes | no |
//! | loopback, link-local, metadata services, multicast, reserved, documentation | no | no |
//! | networks of `--egress-allow` | yes | yes |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

pub mod outbound;
pub mod proxies;
pub mod resolver;

const LOOPBACK_V4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8));
const LOOPBACK_V6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128));

/// The egress rules with the exceptions of the operator's configuration.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    allowed: Vec<IpNet>,
}

/// The location of a host by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The name of a Service: the connection leads into the cluster.
    Cluster,
    Public,
}

/// An address that the egress rules deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not an address that may be connected to")]
pub struct Denied {
    pub address: IpAddr,
}

/// The class of an address, before exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    Never,
}

impl Reach {
    /// The location by a URL's host.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        match url.host() {
            Some(Host::Domain(domain)) => Reach::of_name(domain),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => Reach::Public,
        }
    }

    /// The location by a host name in lower case.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let host = name.strip_suffix('.').unwrap_or(name);
        if host.ends_with(".svc") || host.ends_with(".svc.cluster.local") { Reach::Cluster } else { Reach::Public }
    }
}

impl Egress {
    /// The same rules, and loopback addresses are permitted.
    #[must_use]
    pub fn with_loopback(mut self) -> Self {
        self.allowed.extend([LOOPBACK_V4, LOOPBACK_V6]);
        self
    }

    /// The rules with these exceptions.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Egress { allowed }
    }

    /// Checks `address` for a host with this location.
    ///
    /// # Errors
    /// If the rules deny it.
    pub fn check(&self, address: IpAddr, reach: Reach) -> Result<(), Denied> {
        let allowed = self.allowed.iter().any(|net| net.contains(&address.to_canonical()));
        let permitted = match (kind(address), reach) {
            (Kind::Public, Reach::Cluster | Reach::Public) | (Kind::Private, Reach::Cluster) => true,
            (Kind::Private, Reach::Public) | (Kind::Never, Reach::Cluster | Reach::Public) => false,
        };
        if allowed || permitted { Ok(()) } else { Err(Denied { address }) }
    }

    /// Checks a URL whose host is an address. A host name is checked once it is resolved.
    ///
    /// # Errors
    /// If the rules deny the address.
    pub fn check_literal(&self, url: &Url) -> Result<(), Denied> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into(), Reach::of(url)),
            Some(Host::Ipv6(address)) => self.check(address.into(), Reach::of(url)),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

/// By the registries of special-purpose addresses (RFC 6890), plus the addresses of metadata services outside them.
fn kind_of_v4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        [0 | 127 | 224.., ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        // Metadata services: Alibaba Cloud, Azure.
        | [100, 100, 100, 200]
        | [168, 63, 129, 16] => Kind::Never,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18 | 19, ..] => Kind::Private,
        _ => Kind::Public,
    }
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        kind_of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // An embedded IPv4 address counts as that address: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            embedded(high, low)
        }
        // Metadata services: AWS, Google Cloud. Then Teredo and documentation.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0x2001, 0 | 0xdb8, ..]
        | [0x3fff, 0..=0x0fff, ..] => Kind::Never,
        [0xfc00..=0xfdff, ..] => Kind::Private,
        // 2000::/3 is global unicast; everything else is loopback, link-local, multicast or unassigned.
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Never,
    }
}

#[cfg(test)]
mod tests;

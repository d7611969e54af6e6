//! Which addresses a receiver may connect to on behalf of a sink. Whoever may write a custom resource chooses the URL;
//! that must not let them have the receiver ask what only it can reach: itself, the node, a cloud's metadata service, the
//! company's network. What counts is the address that is connected to, whatever the URL or the DNS said. Pure.
//!
//! | address | a sink in the cluster (host ends in `.svc` or `.svc.cluster.local`) | any other sink |
//! |---|---|---|
//! | public | yes | yes |
//! | private (RFC 1918, RFC 6598, RFC 2544, `fc00::/7`) | yes | no |
//! | loopback, link-local, metadata services, multicast, reserved, documentation | no | no |
//! | what `--egress-allow` names | yes | yes |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// What may be connected to: the rules, and the exceptions that whoever runs the operator made.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    allowed: Vec<IpNet>,
}

/// Where a sink says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The name of a Service: whoever answers to it is in the cluster.
    Cluster,
    Public,
}

/// An address that must not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not an address that events may be sent to")]
pub struct Denied {
    pub address: IpAddr,
}

/// How an address is seen, before exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    Never,
}

impl Reach {
    /// Where a URL leads, by its host.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        let host = match url.host() {
            Some(Host::Domain(domain)) => domain.strip_suffix('.').unwrap_or(domain),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => return Reach::Public,
        };
        if host.ends_with(".svc") || host.ends_with(".svc.cluster.local") { Reach::Cluster } else { Reach::Public }
    }
}

impl Egress {
    /// The rules with these exceptions.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Egress { allowed }
    }

    /// Whether `address` may be connected to for a sink that is said to be there.
    ///
    /// # Errors
    /// When it must not.
    pub fn check(&self, address: IpAddr, reach: Reach) -> Result<(), Denied> {
        let allowed = self.allowed.iter().any(|net| net.contains(&address.to_canonical()));
        let permitted = match (kind(address), reach) {
            (Kind::Public, Reach::Cluster | Reach::Public) | (Kind::Private, Reach::Cluster) => true,
            (Kind::Private, Reach::Public) | (Kind::Never, Reach::Cluster | Reach::Public) => false,
        };
        if allowed || permitted { Ok(()) } else { Err(Denied { address }) }
    }

    /// Whether a URL whose host is an address leads where it may. One with a name is checked once that is resolved.
    ///
    /// # Errors
    /// When it does not.
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

/// By the registries of special-purpose addresses (RFC 6890), and the addresses of metadata services that are none.
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
        // An IPv4 address in disguise is what it stands for: mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            embedded(high, low)
        }
        // Metadata services: AWS, Google Cloud. Then Teredo, and what is for documentation.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0x2001, 0 | 0xdb8, ..]
        | [0x3fff, 0..=0x0fff, ..] => Kind::Never,
        [0xfc00..=0xfdff, ..] => Kind::Private,
        // What is global so far is in 2000::/3; everything else is loopback, link-local, multicast or unknown.
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Never,
    }
}

#[cfg(test)]
mod tests;

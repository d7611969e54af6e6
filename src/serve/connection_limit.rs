//! Limits the connections of one address, so that one client cannot use up the server's limit on all connections.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The count of open connections of each address. Addresses without one have no entry, so there are never more entries
/// than connections. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimit {
    max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Counts one open connection of an address until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionGuard {
    limit: ConnectionLimit,
    client: IpAddr,
}

impl ConnectionLimit {
    /// A limit of `max` connections per address, but at least one.
    pub(super) fn new(max: usize) -> Self {
        ConnectionLimit { max: max.max(1), open: Arc::default() }
    }

    /// Counts a connection from `address`, or returns `None` if that address has the maximum already.
    pub(super) fn try_acquire(&self, address: IpAddr) -> Option<ConnectionGuard> {
        let client = client(address);
        let mut open = self.lock();
        let count = open.entry(client).or_default();
        // A rejected address has open connections already, so no entry with count 0 remains.
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(ConnectionGuard { limit: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut open = self.limit.lock();
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// The address under which a client is counted: for IPv6 its /64 network, the smallest that a provider assigns.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let limit = ConnectionLimit::new(2);
        let acquire = |address: &str| limit.try_acquire(address.parse().unwrap());
        let (first, second) = (acquire("192.0.2.1"), acquire("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(acquire("192.0.2.1").is_none(), "both spellings are the same address");
        let other = acquire("192.0.2.2");
        assert!(other.is_some());
        drop(first);
        let third = acquire("192.0.2.1");
        assert!(third.is_some());
        drop((second, third, other));
        assert!(limit.lock().is_empty(), "an address without a connection keeps an entry");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_share() {
        let limit = ConnectionLimit::new(1);
        let _first = limit.try_acquire("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limit.try_acquire("2001:db8::ffff:2".parse().unwrap()).is_none());
        assert!(limit.try_acquire("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}

//! How many connections each address has, so that one cannot take them all. The table holds only addresses that have a
//! connection, so it is never larger than the number of connections.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections there are. Cloning one shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    /// Lets a connection from `address` in, unless that address has `most` already.
    pub(super) fn enter(&self, address: IpAddr, most: usize) -> Option<Guest> {
        let address = whose(address);
        let mut table = self.lock();
        let count = table.entry(address).or_default();
        // An address that is turned away has connections, so no empty entry stays behind.
        if *count >= most.max(1) {
            return None;
        }
        *count += 1;
        drop(table);
        Some(Guest { addresses: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut table = self.addresses.lock();
        if let Some(count) = table.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.address);
            }
        }
    }
}

/// Who stands behind an address: of IPv6, a subscriber has a network of 64 bits at least.
fn whose(address: IpAddr) -> IpAddr {
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
        let addresses = Addresses::default();
        let enter = |address: &str| addresses.enter(address.parse().unwrap(), 2);
        let (first, second) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none(), "written in either way, it is the same address");
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        drop(first);
        let third = enter("192.0.2.1");
        assert!(third.is_some());
        drop((second, third, other));
        assert!(addresses.lock().is_empty(), "nobody is remembered without a connection");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_share() {
        let addresses = Addresses::default();
        let _first = addresses.enter("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(addresses.enter("2001:db8::ffff:2".parse().unwrap(), 1).is_none());
        assert!(addresses.enter("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }
}

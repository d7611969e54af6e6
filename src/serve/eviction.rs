//! The open connections of a server that never makes a new one wait: if there is no room, it closes an older one. A
//! client that holds connections open can thus not shut out the short requests of others, such as probes, although
//! these carry no credentials.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::idle_timeout::Activity;

/// The open connections, by the order in which they were accepted. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct OpenConnections {
    max: usize,
    max_per_address: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    activity: Arc<Activity>,
    evicted: CancellationToken,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub(super) struct OpenGuard {
    connections: OpenConnections,
    number: u64,
}

impl OpenConnections {
    /// Room for `max` connections, at most `max_per_address` of them of one address.
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        OpenConnections { max, max_per_address, open: Arc::default() }
    }

    /// Adds a connection from `address`, which is closed when the returned token is cancelled. Without room, evicts
    /// another one.
    pub(super) fn enter(&self, address: IpAddr, activity: Arc<Activity>) -> (OpenGuard, CancellationToken) {
        let (address, evicted) = (address.to_canonical(), CancellationToken::new());
        let mut open = self.lock();
        let seen = open.connections.iter().map(|(number, it)| (*number, it.address, it.activity.is_busy()));
        if let Some(victim) = victim(&seen.collect::<Vec<_>>(), address, self.max, self.max_per_address)
            && let Some(connection) = open.connections.remove(&victim)
        {
            tracing::debug!(address = %connection.address, "connection closed: a newer one needs its place");
            connection.evicted.cancel();
        }
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, Connection { address, activity, evicted: evicted.clone() });
        drop(open);
        (OpenGuard { connections: self.clone(), number }, evicted)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.connections.lock().connections.remove(&self.number);
    }
}

/// The connection to close for a new one of `address`; `None` if there is room. If the address has its maximum, it is
/// one of its own. Else it is one of the address with the most: of that address's connections without a request in
/// flight the oldest. Pure.
fn victim(open: &[(u64, IpAddr, bool)], address: IpAddr, max: usize, max_per_address: usize) -> Option<u64> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for (_, address, _) in open {
        *counts.entry(*address).or_default() += 1;
    }
    let count = |address: &IpAddr| counts.get(address).copied().unwrap_or_default();
    let own = count(&address) >= max_per_address;
    let candidates = open.iter().filter(|(_, other, _)| !own || *other == address);
    let first = candidates.min_by_key(|(number, address, busy)| (Reverse(count(address)), *busy, *number));
    first.filter(|_| own || open.len() >= max).map(|(number, _, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKER: [u8; 4] = [192, 0, 2, 1];
    const OTHER: [u8; 4] = [192, 0, 2, 2];
    const NODE: [u8; 4] = [192, 0, 2, 9];

    #[test]
    fn the_oldest_idle_connection_of_the_address_with_the_most_is_closed() {
        for (sentence, open, new, closed) in [
            ("there is room", vec![(ATTACKER, false)], NODE, None),
            (
                "an address at its maximum loses its oldest",
                vec![(OTHER, false), (NODE, false), (NODE, false), (NODE, false)],
                NODE,
                Some(1),
            ),
            ("its busy ones stay", vec![(NODE, true), (NODE, false), (NODE, true)], NODE, Some(1)),
            ("unless all are busy", vec![(NODE, true), (NODE, true), (NODE, true)], NODE, Some(0)),
            (
                "the address with the most makes room for another",
                vec![
                    (NODE, false),
                    (OTHER, false),
                    (ATTACKER, true),
                    (OTHER, false),
                    (ATTACKER, false),
                    (ATTACKER, false),
                ],
                NODE,
                Some(4),
            ),
            (
                "with one connection each, the oldest idle one",
                vec![
                    ([10, 0, 0, 1], true),
                    (NODE, false),
                    ([10, 0, 0, 2], false),
                    ([10, 0, 0, 3], false),
                    ([10, 0, 0, 4], false),
                    ([10, 0, 0, 5], false),
                ],
                [10, 0, 0, 6],
                Some(1),
            ),
        ] {
            let open: Vec<_> =
                (0..).zip(&open).map(|(number, (address, busy))| (number, IpAddr::from(*address), *busy)).collect();
            assert_eq!(victim(&open, new.into(), 6, 3), closed, "{sentence}");
        }
    }

    #[test]
    fn a_closed_connection_leaves_no_entry() {
        let connections = OpenConnections::new(2, 2);
        let enter = |address: [u8; 4]| connections.enter(address.into(), Arc::default());
        let (first, first_evicted) = enter(ATTACKER);
        let (second, second_evicted) = enter(OTHER);
        let (third, _) = enter(NODE);
        assert!(first_evicted.is_cancelled() && !second_evicted.is_cancelled());
        assert_eq!(connections.lock().connections.len(), 2);
        drop((first, second, third));
        assert!(connections.lock().connections.is_empty());
    }
}

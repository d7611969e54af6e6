//! The right of a sink to exceed its share of memory with one event. Pure.

/// A request for memory beyond a sink's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Large {
    /// The size of the body; `usize::MAX` if it is not known.
    pub(super) bytes: usize,
    /// Whether the sink has not failed since it last took an event. One that hangs keeps memory for a long time.
    pub(super) trusted: bool,
}

/// The use that an engine has for the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// The memory that the next event needs beyond the share.
    pub(super) wanted: Option<Large>,
    /// Whether a read is in progress, which may use the right.
    pub(super) reading: bool,
    /// Whether an event in memory exceeds the share.
    pub(super) exceeding: bool,
}

/// The state of the right. `P` is what keeps the memory until it is dropped.
#[derive(Debug)]
pub(super) enum Right<P> {
    None,
    Requested(Large),
    Granted(Large, P),
    /// An event that exceeds the share is in memory.
    Used(Large, P),
}

impl<P> Right<P> {
    /// Follows the engine: gives the right back after one event, or if it does not help. Returns the request to make.
    pub(super) fn follow(&mut self, demand: Demand) -> Option<Large> {
        let Demand { wanted, reading, exceeding } = demand;
        let helps =
            |large: &Large| reading || wanted.is_some_and(|it| it.trusted == large.trusted && it.bytes <= large.bytes);
        *self = match std::mem::replace(self, Right::None) {
            Right::Requested(large) => Right::Requested(large),
            Right::Granted(large, permit) | Right::Used(large, permit) if exceeding => Right::Used(large, permit),
            Right::Granted(large, permit) if helps(&large) => Right::Granted(large, permit),
            Right::None | Right::Granted(..) | Right::Used(..) => wanted.map_or(Right::None, Right::Requested),
        };
        match *self {
            Right::Requested(large) => Some(large),
            Right::None | Right::Granted(..) | Right::Used(..) => None,
        }
    }

    /// Records that the request was granted.
    pub(super) fn grant(&mut self, permit: P) {
        if let Right::Requested(large) = *self {
            *self = Right::Granted(large, permit);
        }
    }

    /// The largest body that may be read, if the right was granted.
    pub(super) fn bytes(&self) -> Option<usize> {
        match self {
            Right::None | Right::Requested(_) => None,
            Right::Granted(large, _) | Right::Used(large, _) => Some(large.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Demand = Demand { wanted: None, reading: false, exceeding: false };

    fn wants(bytes: usize, trusted: bool) -> Demand {
        Demand { wanted: Some(Large { bytes, trusted }), ..IDLE }
    }

    fn granted(bytes: usize) -> Right<()> {
        let mut right = Right::None;
        assert_eq!(right.follow(wants(bytes, true)), Some(Large { bytes, trusted: true }));
        assert_eq!(right.bytes(), None);
        right.grant(());
        assert_eq!(right.bytes(), Some(bytes));
        right
    }

    #[test]
    fn the_right_is_given_back_after_one_event() {
        let mut right = granted(8);
        let reading = Demand { reading: true, ..IDLE };
        assert_eq!((right.follow(reading), right.bytes()), (None, Some(8)));
        assert_eq!((right.follow(Demand { exceeding: true, ..wants(8, true) }), right.bytes()), (None, Some(8)));
        assert_eq!(right.follow(wants(8, true)), Some(Large { bytes: 8, trusted: true }), "others had their turn");
        assert_eq!(right.bytes(), None);
    }

    #[test]
    fn a_right_that_does_not_help_is_given_back() {
        for demand in [wants(9, true), wants(8, false)] {
            let mut right = granted(8);
            assert_eq!(right.follow(demand), demand.wanted);
        }
        let mut right = granted(8);
        assert_eq!((right.follow(wants(7, true)), right.bytes()), (None, Some(8)));
        assert_eq!((right.follow(IDLE), right.bytes()), (None, None));
    }
}

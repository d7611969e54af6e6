//! When to read events from the journal, and how many bytes. Pure.

use super::queue::Lane;

/// The size of a read in events.
pub(super) const READ: usize = 32;
/// The size of a read in bytes.
const READ_BYTES: usize = 1 << 20;

/// The events that the journal may have for a sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supply {
    retries: Stock,
    fresh: Stock,
    /// When the next retry is due, in milliseconds since the epoch.
    next: Option<i64>,
    last: Lane,
}

/// The events of a lane that the journal may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stock {
    Empty,
    Some,
    /// The first event has this size, for which there was no room.
    Needs(usize),
}

/// The memory for the bodies of one sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// The sink's share.
    pub(super) share: usize,
    /// The bytes in memory.
    pub(super) used: usize,
    /// The size of an event that may exceed the share now.
    pub(super) large: Option<usize>,
}

/// The next read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Read at most this number of bytes.
    Bytes(Lane, usize),
    /// The next event has this size, which exceeds the share.
    Large(usize),
}

impl Supply {
    pub(super) fn new() -> Self {
        Supply { retries: Stock::Some, fresh: Stock::Some, next: None, last: Lane::Retry }
    }

    /// The read to begin now, of one of the lanes that are wanted. The lanes take turns.
    pub(super) fn read(&self, now: i64, room: Room, wanted: impl Fn(Lane) -> bool) -> Option<Read> {
        let lanes = match self.last {
            Lane::Retry => [Lane::Fresh, Lane::Retry],
            Lane::Fresh => [Lane::Retry, Lane::Fresh],
        };
        let reads =
            || lanes.into_iter().filter(|lane| wanted(*lane)).filter_map(|lane| self.read_lane(lane, now, room));
        reads().find(|read| matches!(read, Read::Bytes(..))).or_else(|| reads().next())
    }

    fn read_lane(&self, lane: Lane, now: i64, Room { share, used, large }: Room) -> Option<Read> {
        let due = self.next.is_some_and(|next| next <= now);
        let stock = match lane {
            Lane::Retry if self.retries == Stock::Empty && due => Stock::Some,
            Lane::Retry => self.retries,
            Lane::Fresh => self.fresh,
        };
        let left = share.saturating_sub(used);
        match stock {
            Stock::Empty => None,
            Stock::Some => (left > 0).then_some(Read::Bytes(lane, left.min(READ_BYTES))),
            Stock::Needs(bytes) if bytes <= left => Some(Read::Bytes(lane, left.min(READ_BYTES).max(bytes))),
            Stock::Needs(bytes) if bytes <= share => None,
            Stock::Needs(bytes) if large.is_some_and(|large| bytes <= large) => Some(Read::Bytes(lane, bytes)),
            Stock::Needs(bytes) => Some(Read::Large(bytes)),
        }
    }

    /// Records that a read of a lane begins. What is noted until it ends may have come too late for it.
    pub(super) fn begin(&mut self, lane: Lane) {
        *self.stock(lane) = Stock::Empty;
    }

    fn stock(&mut self, lane: Lane) -> &mut Stock {
        match lane {
            Lane::Retry => &mut self.retries,
            Lane::Fresh => &mut self.fresh,
        }
    }

    /// Records the end of a read: whether there may be more, when the next retry is due, and the size of the first event
    /// that did not fit.
    pub(super) fn done(&mut self, lane: Lane, more: bool, next: Option<i64>, needs: Option<usize>) {
        let stock = match (needs, more) {
            (Some(bytes), _) => Stock::Needs(bytes),
            (None, true) => Stock::Some,
            (None, false) => Stock::Empty,
        };
        if stock != Stock::Empty {
            *self.stock(lane) = stock;
        }
        self.last = lane;
        match lane {
            Lane::Retry => self.next = next,
            // A retry that is due already is not among `next`.
            Lane::Fresh => self.next = [self.next, next].into_iter().flatten().min(),
        }
    }

    /// Records that there may be new events.
    pub(super) fn appended(&mut self) {
        if self.fresh == Stock::Empty {
            self.fresh = Stock::Some;
        }
    }

    /// Records that there may be anything, for example because the clock was set or events were deleted.
    pub(super) fn poll(&mut self) {
        (self.retries, self.fresh) = (Stock::Some, Stock::Some);
    }

    /// Records a retry that is due at `at`.
    pub(super) fn retry(&mut self, at: i64) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// When the next retry is due, if that is later than `now`.
    pub(super) fn next_after(&self, now: i64) -> Option<i64> {
        self.next.filter(|next| *next > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { share: 4 << 20, used: 0, large: None };
    const FRESH: Option<Read> = Some(Read::Bytes(Lane::Fresh, READ_BYTES));
    const RETRY: Option<Read> = Some(Read::Bytes(Lane::Retry, READ_BYTES));

    fn end(supply: &mut Supply, lane: Lane, more: bool, next: Option<i64>, needs: Option<usize>) {
        supply.begin(lane);
        supply.done(lane, more, next, needs);
    }

    #[test]
    fn what_is_noted_during_a_read_is_kept() {
        let read = |supply: &Supply, now| supply.read(now, ROOM, |_| true);
        let mut supply = Supply::new();
        end(&mut supply, Lane::Retry, false, Some(50), None);
        supply.begin(Lane::Fresh);
        supply.appended();
        supply.done(Lane::Fresh, false, None, None);
        assert_eq!(read(&supply, 0), FRESH, "an event arrived");
        end(&mut supply, Lane::Fresh, false, Some(90), None);
        assert_eq!(read(&supply, 50), RETRY, "the retry is still due");
        supply.begin(Lane::Retry);
        supply.poll();
        supply.done(Lane::Retry, false, None, None);
        assert_eq!(supply.read(0, ROOM, |lane| lane == Lane::Retry), RETRY, "events are sent again on request");
    }

    #[test]
    fn lanes_take_turns_and_are_read_while_there_may_be_more() {
        let mut supply = Supply::new();
        let read = |supply: &Supply, now| supply.read(now, ROOM, |_| true);
        assert_eq!(read(&supply, 0), FRESH);
        end(&mut supply, Lane::Fresh, true, None, None);
        assert_eq!(read(&supply, 0), RETRY);
        end(&mut supply, Lane::Retry, false, Some(50), None);
        assert_eq!(read(&supply, 0), FRESH, "no retry is due yet");
        end(&mut supply, Lane::Fresh, false, Some(50), None);
        assert_eq!((read(&supply, 49), supply.next_after(49)), (None, Some(50)));
        assert_eq!((read(&supply, 50), supply.next_after(50)), (RETRY, None));
        end(&mut supply, Lane::Retry, false, None, None);
        supply.retry(70);
        assert_eq!(supply.next_after(60), Some(70));
        supply.appended();
        assert_eq!(read(&supply, 0), FRESH);
        assert_eq!(supply.read(0, ROOM, |lane| lane == Lane::Retry), None);
    }

    #[test]
    fn an_event_is_read_once_there_is_room_for_it() {
        let mut supply = Supply::new();
        end(&mut supply, Lane::Retry, false, None, None);
        let with = |supply: &Supply, used, large| supply.read(0, Room { used, large, ..ROOM }, |_| true);
        assert_eq!(with(&supply, 4 << 20, None), None);
        end(&mut supply, Lane::Fresh, true, None, Some(3 << 20));
        assert_eq!(with(&supply, 2 << 20, Some(usize::MAX)), None, "others go first");
        assert_eq!(with(&supply, 1 << 20, None), Some(Read::Bytes(Lane::Fresh, 3 << 20)));
        end(&mut supply, Lane::Fresh, true, None, Some(8 << 20));
        assert_eq!(with(&supply, 2 << 20, Some(7 << 20)), Some(Read::Large(8 << 20)));
        assert_eq!(with(&supply, 2 << 20, Some(8 << 20)), Some(Read::Bytes(Lane::Fresh, 8 << 20)));
        supply.poll();
        assert_eq!(with(&supply, 0, None), RETRY, "the other lane goes on");
    }
}

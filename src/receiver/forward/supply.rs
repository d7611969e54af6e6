//! When to read events from the journal. Pure.

use super::queue::Lane;

/// The size of a read in events.
pub(super) const READ: usize = 32;
/// The size of a read in bytes.
const READ_BYTES: usize = 1 << 20;

/// The events that the journal may have for a sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supply {
    /// Whether there may be due retries, and new events.
    retries: bool,
    fresh: bool,
    /// When the next retry is due, in milliseconds since the epoch.
    next: Option<i64>,
    last: Lane,
    /// The size of the next read in bytes.
    bytes: usize,
}

impl Supply {
    pub(super) fn new() -> Self {
        Supply { retries: true, fresh: true, next: None, last: Lane::Retry, bytes: READ_BYTES }
    }

    /// The lane to read now, among those for which there is room. The lanes take turns.
    pub(super) fn lane(&self, now: i64, room: impl Fn(Lane) -> bool) -> Option<Lane> {
        let lanes = match self.last {
            Lane::Retry => [Lane::Fresh, Lane::Retry],
            Lane::Fresh => [Lane::Retry, Lane::Fresh],
        };
        lanes.into_iter().find(|lane| {
            let has = match lane {
                Lane::Retry => self.retries || self.next.is_some_and(|next| next <= now),
                Lane::Fresh => self.fresh,
            };
            has && room(*lane)
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records a read: whether there may be more, when the next retry is due, and the size of an event that was too
    /// large to be read.
    pub(super) fn read(&mut self, lane: Lane, more: bool, next: Option<i64>, too_large: Option<usize>) {
        match lane {
            Lane::Retry => self.retries = more,
            Lane::Fresh => self.fresh = more,
        }
        self.next = next;
        // A lane whose first event is too large is read again, with room for that one.
        self.bytes = too_large.unwrap_or(READ_BYTES);
        self.last = match (too_large, lane) {
            (None, lane) => lane,
            (Some(_), Lane::Retry) => Lane::Fresh,
            (Some(_), Lane::Fresh) => Lane::Retry,
        };
    }

    /// Records that there may be new events.
    pub(super) fn appended(&mut self) {
        self.fresh = true;
    }

    /// Records that there may be anything, for example because the clock was set.
    pub(super) fn poll(&mut self) {
        (self.retries, self.fresh) = (true, true);
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

    #[test]
    fn lanes_take_turns_and_are_read_while_there_may_be_more() {
        let mut supply = Supply::new();
        let any = |_| true;
        assert_eq!(supply.lane(0, any), Some(Lane::Fresh));
        supply.read(Lane::Fresh, true, None, None);
        assert_eq!(supply.lane(0, any), Some(Lane::Retry));
        supply.read(Lane::Retry, false, Some(50), None);
        assert_eq!(supply.lane(0, any), Some(Lane::Fresh), "no retry is due yet");
        supply.read(Lane::Fresh, false, Some(50), None);
        assert_eq!((supply.lane(49, any), supply.next_after(49)), (None, Some(50)));
        assert_eq!((supply.lane(50, any), supply.next_after(50)), (Some(Lane::Retry), None));
        supply.retry(70);
        supply.read(Lane::Retry, false, None, None);
        supply.retry(70);
        assert_eq!(supply.next_after(60), Some(70));
        supply.appended();
        assert_eq!(supply.lane(0, any), Some(Lane::Fresh));
        assert_eq!(supply.lane(0, |lane| lane == Lane::Retry), None);
    }

    #[test]
    fn a_large_event_is_read_alone() {
        let mut supply = Supply::new();
        supply.read(Lane::Fresh, true, None, Some(8 << 20));
        assert_eq!((supply.lane(0, |_| true), supply.bytes()), (Some(Lane::Fresh), 8 << 20));
        supply.read(Lane::Fresh, true, None, None);
        assert_eq!(supply.bytes(), READ_BYTES);
    }
}

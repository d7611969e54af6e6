//! The positions of events in a journal.

/// The position of an event in the order of arrival. Higher is later.
pub type Position = i64;

/// The arrivals at a journal, which wake the forwarding to the sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// The position of the newest event.
    pub last: Position,
    /// How often stored events became retries other than by an outcome: on request, or because the events around them
    /// were given up.
    pub requeued: u64,
}

//! Selections of the events that wait for a sink.

use super::position::Position;

/// A selection of due events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueQuery {
    /// Milliseconds since the epoch.
    pub now: i64,
    /// No retry has a later due time, unless the clock was set back since: such a retry is due now.
    pub horizon: i64,
    /// New events after this position only, or after the sink's own position if that is higher.
    pub after: Position,
    /// The maximum number of retries.
    pub retries: usize,
    /// The maximum number of new events.
    pub fresh: usize,
    /// The maximum of all bodies together. Retries come first.
    pub max_bytes: usize,
}

/// A selection of one event to probe a sink with, whether it is due or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The newest waiting event before this position.
    Newest { before: Position },
    /// The event with the fewest failed attempts: the oldest new event after this position, or else a retry.
    Fewest { after: Position },
}

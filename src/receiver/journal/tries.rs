//! The record of an event's failed attempts at one sink.

/// The failed attempts to send an event to one sink. Stored with the retry, so that a restart forgets none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// All failed attempts, also those for which the event is not to blame.
    pub attempts: u32,
    /// The event's own failures that suspect the event.
    pub suspicions: u32,
    /// The time that the event's own failures have cost, in milliseconds: the delays after them, and the duration of
    /// the attempts. Time under a hold is not part of it.
    pub charged_ms: i64,
    /// The number of events that the sink had taken at the last failure; `None` before the first failure.
    pub taken: Option<i64>,
}

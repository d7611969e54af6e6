//! Forwards events to the sinks. The [`scheduler`] runs one worker per sink, each with its own position in the journal,
//! so that no sink waits for another.

mod batch;
mod breaker;
pub mod context;
mod ordering;
pub mod retry;
pub mod scheduler;
mod worker;

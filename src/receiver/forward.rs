//! Forwards events to the sinks. The [`scheduler`] runs one worker per sink, each with its own position in the journal,
//! so that no sink waits for another.

mod attempt;
pub mod budget;
pub mod context;
mod engine;
mod hold;
mod large;
mod latency;
mod operation;
mod ordering;
mod queue;
mod record;
mod reporter;
mod retry;
pub mod scheduler;
mod supply;
mod window;
mod worker;

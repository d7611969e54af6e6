//! Turns watch events into reconcile requests: one watch per kind, an index of webhooks, and the work queue.

mod backoff;
mod connections;
pub mod index;
pub mod observed_versions;
pub mod queue;
pub mod streams;

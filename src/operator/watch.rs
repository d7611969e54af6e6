//! Turns watch events into reconcile requests: one watch per kind, an index of webhooks, and the webhooks' work queue.

mod backoff;
pub mod caches_synced;
mod connections;
pub mod index;
pub mod observed_versions;
pub mod queue;
pub mod scope_health;
mod secret_names;
pub mod streams;

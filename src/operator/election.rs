//! Leader election with a Lease: of several operator processes, only the leader writes. See docs/adr/0006.

pub mod leadership;
pub mod lease;
pub mod rules;
pub mod run;
pub mod thread;

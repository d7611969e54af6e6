//! Loopback tests: whole parts of the program over real sockets on 127.0.0.1, without other dependencies. One module
//! per subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "no item of a test binary is reachable from outside")]

use support::{certificate_authority, simulator};

mod canned;
mod client;
mod client_against_simulator;
mod data_path;
mod edge;
mod examples;
mod probe;
mod proxy;
mod quota;
mod receiver;
mod simulator_deliveries;
mod simulator_tls;
mod startup;

/// The parts of `tests/support` that this binary uses.
#[path = "../support"]
mod support {
    pub mod certificate_authority;
    pub mod quota_simulation;
    pub mod simulator;
}

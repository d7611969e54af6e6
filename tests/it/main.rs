//! Loopback tests: whole parts of the program over real sockets on 127.0.0.1, nothing else needed. One binary, one
//! module per subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "nothing outside a test binary can reach into it")]

#[path = "../edge/authority.rs"]
mod authority;
mod canned;
mod client;
mod client_against_simulator;
mod edge;
mod examples;
mod probe;
mod receiver;
mod simulator;
mod simulator_deliveries;
mod simulator_tls;
mod simulator_to_receiver;
mod turns;

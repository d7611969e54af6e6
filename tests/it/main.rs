//! Loopback tests: whole parts of the program over real sockets on 127.0.0.1, nothing else needed. One binary, one
//! module per subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "nothing outside a test binary can reach into it")]

mod canned;
mod client;
mod client_against_simulator;
mod examples;
mod probe;
mod receiver;
mod simulator;
mod simulator_deliveries;
mod simulator_to_receiver;
mod turns;

//! The operator's fault rows (docs/chaos.md). The operator is the real one; the API server, Linktree, node and clock
//! around it are in memory, so that hours pass in milliseconds and every case is the same each time it is run. The
//! other tests include a smaller part of each row; `CHAOS=full` (`make chaos-operator`) runs the counts of docs/chaos.md
//! and prints one line per row.
//!
//! Everything random comes from one seed, `CHAOS_SEED`; a failure prints the command that repeats it, and `CHAOS_CASE` with
//! the beginning of a case's name tries that alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a harness has a clock of its own")]
#![allow(unreachable_pub, reason = "nothing outside a test binary can reach into it")]

mod attacker;
mod cases;
mod crash;
mod drift;
mod edge;
mod errors;
mod gate;
mod kubernetes;
mod linktree;
mod mutate;
mod mutations;
mod node;
mod oracle;
#[path = "../chaos/row.rs"]
mod row;
mod sample;
mod scenario;
mod stale;
mod time;
mod workers;
mod world;

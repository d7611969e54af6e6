//! Fault tests of the operator: the rows of docs/chaos.md that concern it. The operator is the real one; the API
//! server, Linktree, node and clock around it are in memory, so that hours pass in milliseconds and every case is
//! deterministic. A smaller part runs with the other tests; `CHAOS=full` (`make chaos-operator`) runs all counts and
//! prints one line per row.
//!
//! All randomness comes from one seed, `CHAOS_SEED`. A failure prints the command that repeats it; `CHAOS_CASE` with
//! the beginning of a case's name runs only that case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test harness has its own clock")]
#![allow(unreachable_pub, reason = "no item of a test binary is reachable from outside")]

use support::{kubernetes, row};

mod admission;
mod attacker;
mod cases;
mod cluster;
mod crash;
mod drift;
mod edge;
mod edits;
mod errors;
mod foreign;
mod gate;
mod journal_claims;
mod linktree;
mod mutate;
mod mutations;
mod node;
mod odd_objects;
mod oracle;
mod owners;
mod planted_secrets;
mod sample;
mod scenario;
mod second_operator;
mod stale;
mod time;
mod two_clusters;
mod variation;
mod workers;

/// The parts of `tests/support` that this binary uses.
#[path = "../support"]
mod support {
    pub mod kubernetes;
    pub mod row;
}

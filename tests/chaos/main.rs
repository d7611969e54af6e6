//! Fault tests of the receiver: the rows of docs/chaos.md that concern it, one module each, with the real binary where
//! a process or a disk matters. A smaller part runs with the other tests; `CHAOS=full` (`make chaos-receiver`) runs all
//! counts and prints one line per row.
//!
//! All randomness comes from one seed, `CHAOS_SEED`; a failure prints the command that repeats it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test harness measures its own deadlines")]
#![allow(unreachable_pub, reason = "no item of a test binary is reachable from outside")]

use support::row;

mod admin_port;
mod answer_bodies;
mod answers;
mod backlog_policy;
mod crash_images;
mod deliveries;
mod disk;
mod duplicates;
mod egress;
mod flood;
mod free_blocks;
mod full_volume;
mod fuzz;
mod http_abuse;
mod http_cases;
mod kill;
mod log_bound;
mod memory;
mod odd_bodies;
mod odd_scalars;
mod open_files;
mod power_cut;
mod process;
mod rapid_reset;
mod recorder;
mod removed_sinks;
mod retention;
mod signatures;
mod simulated_journal;
mod sink;
mod storage_faults;
mod switched_sinks;
mod trace;
mod volume;

/// The parts of `tests/support` that this binary uses.
#[path = "../support"]
mod support {
    pub mod row;
}

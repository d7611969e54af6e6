//! The receiver's fault rows (docs/chaos.md), one module each, against the real binary wherever a process or a disk
//! matters. The other tests include a smaller part of each row; `CHAOS=full` (`make chaos-receiver`) runs the counts of
//! docs/chaos.md and prints one line per row.
//!
//! Everything random comes from one seed, `CHAOS_SEED`; a failure prints the command that repeats it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a harness measures its own deadlines")]
#![allow(unreachable_pub, reason = "nothing outside a test binary can reach into it")]

mod crash_images;
mod deliveries;
mod disk;
mod duplicates;
mod egress;
mod fuzz;
mod http_abuse;
mod http_cases;
mod kill;
mod power_cut;
mod process;
mod rapid_reset;
mod row;
mod signatures;
mod sink;
mod storage_faults;
mod trace;

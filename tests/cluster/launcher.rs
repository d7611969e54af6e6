//! `cluster`: starts and deletes real Kubernetes clusters for tests, the demo and manual use. See README.md.
//!
//! It shares no code with the operator, so that both cannot have the same bug. Every program is recorded in the
//! cluster's state directory *before* it runs; `down` needs only that record.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "waiting for other programs needs the real clock; the ban concerns the operator's decisions"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program prints to a terminal")]
#![allow(unreachable_pub, reason = "no item of a binary is reachable from outside")]

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::cli::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "cluster: a test cluster needs Linux: run `CLUSTER=current make demo` to use the current kubectl context"
    );
    std::process::ExitCode::FAILURE
}

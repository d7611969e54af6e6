//! `cluster`: starts and ends real Kubernetes clusters for tests and for trying things out. See README.md beside it.
//!
//! It shares no code with the operator, so that it can never be wrong in the same way. Everything it starts is written
//! down in the cluster's state directory *before* it runs; `down` works from that record alone.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "waiting for other programs needs the real clock; the ban is for the operator's own decisions"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program speaks to a person at a terminal")]
#![allow(unreachable_pub, reason = "nothing of a program is reachable from outside")]

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
        "cluster: a test cluster needs Linux; `CLUSTER=current make demo` uses the current kubectl context instead."
    );
    std::process::ExitCode::FAILURE
}

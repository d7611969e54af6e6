//! The operator against a real etcd and API server, without kubelet and pod network: [`kubelet`] runs the receiver of a
//! StatefulSet in this process and reports it as a pod, [`network`] proxies requests to the registered URL. The
//! operator is a child process, so that it can be killed; Linktree is the simulator.
//!
//! Each test is a [`harness::scenario`] with its own namespace, simulator and operator, which are deleted after it. A
//! failed test prints the objects, the calls to Linktree and the end of the operator's log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "no item of a test binary is reachable from outside")]

use support::{certificate_authority, kubernetes, nginx, simulator};

mod admission;
mod capabilities;
mod chaos;
mod children;
mod crash;
mod dead_letters;
mod deletion;
mod drift;
mod edge;
mod errors;
mod exposure;
mod external;
mod fidelity;
mod harness;
mod history;
mod journal_claims;
mod keys;
mod kstatus;
mod kubelet;
mod leader;
mod milestones;
mod namespaces;
mod network;
mod odd_objects;
mod operator;
mod outage;
mod pause;
mod policies;
mod recovery;
mod refused_pod;
mod registration;
mod rotation;
mod schema;
mod sharing;
mod sinks;
mod sync;
mod wait;

/// The parts of `tests/support` that this binary uses.
#[path = "../support"]
mod support {
    pub mod certificate_authority;
    #[allow(dead_code, reason = "tests/chaos_operator uses more of it")]
    #[allow(clippy::disallowed_methods, reason = "a test harness has a clock of its own")]
    pub mod kubernetes;
    pub mod nginx;
    pub mod simulator;
}

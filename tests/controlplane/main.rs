//! The operator against a real etcd and API server. There is no kubelet and no pod network here, so a test plays both:
//! [`kubelet`] runs the receiver of a StatefulSet in this process and reports it as a pod, [`network`] is the way to the
//! registered URL. The operator is a child process of its own, so that it can be killed; Linktree is the simulator.
//!
//! Each test is a [`world::scenario`]: a namespace, a simulator and an operator of its own, all ended when it is over. A
//! test that fails prints the objects, the calls to Linktree and the end of the operator's log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "nothing outside a test binary can reach into it")]

#[path = "../edge/authority.rs"]
mod authority;
mod capabilities;
mod chaos;
mod children;
mod crash;
mod deletion;
mod drift;
mod edge;
mod errors;
mod exposure;
mod external;
mod fidelity;
mod history;
mod keys;
mod kstatus;
mod kubelet;
mod leader;
mod milestones;
mod network;
#[path = "../edge/nginx.rs"]
mod nginx;
mod operator;
mod outage;
mod pause;
mod policies;
mod recovery;
mod registration;
mod rotation;
mod schema;
mod sharing;
#[path = "../it/simulator.rs"]
mod simulator;
mod sinks;
mod sync;
mod wait;
mod world;

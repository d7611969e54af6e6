//! `linktree-webhook-operator` reconciles Linktree webhook subscriptions on Kubernetes, and verifies, stores and
//! delivers their events.
//!
//! The modules, top down. Imports point downward only; `tests/tidy` checks this.
//!
//! | module | purpose | must not |
//! |---|---|---|
//! | [`operator`] | reconciles the custom resources with Linktree and the cluster | import `receiver` or `simulator` |
//! | [`receiver`] | verifies, stores and forwards deliveries | import `kube`, `api`, `operator` |
//! | [`simulator`] | simulates Linktree for development and tests | import `kube`, `api`, `operator`, `receiver` |
//! | [`api`] | the custom resource types, conditions and reasons | have behaviour: types only |
//! | [`route`] | the contract between operator and receiver: the route file down, the status up | do IO |
//! | [`linktree`] | the contract with Linktree: events, signatures, wire types, and every assumption about it | do IO, except in `client` |
//! | [`clock`], [`jitter`], [`egress`], [`telemetry`], [`serve`], [`memory_limit`], [`open_files`], [`retry_after`], [`ca_bundle`], [`admin`], [`shutdown`] | small helpers of the modules above | import any other module of this crate |

pub mod admin;
pub mod api;
pub mod ca_bundle;
pub mod clock;
pub mod egress;
pub mod jitter;
pub mod linktree;
pub mod memory_limit;
pub mod open_files;
pub mod operator;
pub mod receiver;
pub mod retry_after;
pub mod route;
pub mod serve;
pub mod shutdown;
pub mod simulator;
pub mod telemetry;

//! `linktree-webhook-operator`: Linktree webhook subscriptions kept true on Kubernetes, their events verified, kept
//! and delivered.
//!
//! The map, top down. Imports point downward only; `tests/tidy.rs` checks it.
//!
//! | module | what it is | what it must not do |
//! |---|---|---|
//! | [`operator`] | reconciles the custom resources with Linktree and the cluster | import `receiver` or `simulator` |
//! | [`receiver`] | verifies deliveries, keeps them, forwards them | import `kube`, `api`, `operator` |
//! | [`simulator`] | a faithful Linktree to develop and test against | import `kube`, `api`, `operator`, `receiver` |
//! | [`api`] | the custom resource types, conditions and reasons | behave: types only |
//! | [`route`] | the contract between operator and receiver: the route file down, the status up | do IO |
//! | [`linktree`] | Linktree's contract: events, signatures, wire types; the one place for what is assumed of it | do IO, but for `client` |
//! | [`clock`], [`jitter`], [`telemetry`], [`serve`], [`retry_after`], [`ca_bundle`], [`admin`], [`shutdown`] | leaves | import anything of ours |

pub mod admin;
pub mod api;
pub mod ca_bundle;
pub mod clock;
pub mod jitter;
pub mod linktree;
pub mod operator;
pub mod receiver;
pub mod retry_after;
pub mod route;
pub mod serve;
pub mod shutdown;
pub mod simulator;
pub mod telemetry;

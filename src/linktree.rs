//! The contract with Linktree: events, signatures, headers and the management API.
//!
//! Every fact about Linktree that its public documentation does not state is marked `Assumed:`. Only [`client`] does
//! IO.

pub mod client;
pub mod error;
pub mod event;
pub mod headers;
pub mod json;
pub mod retry;
pub mod secret;
pub mod signature;
pub mod wire;

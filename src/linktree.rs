//! The contract with Linktree: events, signatures, headers and the management API.
//!
//! Every fact that the public page does not document is marked `Assumed:`. Only [`client`] does IO.

pub mod client;
pub mod error;
pub mod event;
pub mod headers;
pub mod retry;
pub mod secret;
pub mod signature;
pub mod wire;

//! Linktree's contract, as the rest of the code may rely on it: events, signatures, headers, the management API.
//!
//! What the public page documents and what is assumed are kept apart: every assumption is marked `Assumed:` where it
//! is written down. Nothing here does IO but [`client`].

pub mod client;
pub mod error;
pub mod event;
pub mod headers;
pub mod retry;
pub mod secret;
pub mod signature;
pub mod wire;

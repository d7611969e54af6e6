//! Sends one event to one sink, once. [`super::forward::retry`] decides whether and when an attempt is repeated.

pub mod cloudevent;
mod credential_pattern;
pub mod destination;
pub mod excerpt;
pub mod failure;
pub mod http;
pub mod message;
pub mod signature;

//! The whole receiver: real sockets, and a real journal in its own directory.

mod answers;
mod bounds;
mod browsing;
mod excerpts;
pub mod fixture;
mod forwarding;
mod http2;
mod pausing;
mod private_sinks;
mod redriving;
mod reloading;
mod sinks;
mod storage;
mod success;
mod tls;
mod volume;

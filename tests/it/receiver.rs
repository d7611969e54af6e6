//! The receiver as a whole: real sockets, a real journal in a directory of its own.

mod answers;
mod bounds;
mod browsing;
pub mod fixture;
mod forwarding;
mod http2;
mod pausing;
mod reloading;
mod simulated;
mod sinks;
mod storage;
mod tls;
mod volume;

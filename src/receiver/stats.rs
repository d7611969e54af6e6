//! Counts deliveries and attempts, for the status, the metrics and the log. [`counters`] is the entry point; it decides
//! nothing and stores nothing on disk.

pub mod clock_skew;
pub mod counters;
pub mod forecast;
pub mod gauges;
pub mod labels;
mod last_hour;
mod log_limiter;
mod measured;
pub mod metrics;
pub mod snapshot;

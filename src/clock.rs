//! The only place that reads a clock. Everything else takes `now` as an argument, so that a decision can be tested at
//! any moment; `clippy.toml` refuses the underlying calls elsewhere.

use std::time::Instant;

/// Wall-clock time. What is written down, compared with Linktree's timestamps or shown to a person.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A moment that never runs backwards. What durations and deadlines inside one process are measured with.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

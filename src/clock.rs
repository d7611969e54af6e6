//! The only place that reads a clock. Everything else takes `now` as an argument, so that a decision can be tested at
//! any moment; `clippy.toml` refuses the underlying calls elsewhere.

use std::{cell::Cell, time::Instant};

use jiff::Timestamp;

/// Where [`now`] takes the time from.
pub type Source = fn() -> Timestamp;

thread_local! {
    static SOURCE: Cell<Source> = const { Cell::new(system) };
}

/// Wall-clock time. What is written down, compared with Linktree's timestamps or shown to a person.
#[must_use]
pub fn now() -> Timestamp {
    SOURCE.get()()
}

/// From now on this thread's [`now`] is what `source` says: for a runtime on one thread whose time is simulated.
pub fn follow(source: Source) {
    SOURCE.set(source);
}

#[allow(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
fn system() -> Timestamp {
    Timestamp::now()
}

/// A moment that never runs backwards. What durations and deadlines inside one process are measured with.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place that may read the clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

//! The only code that reads a clock. All other code takes `now` as an argument, so that a test can choose the time;
//! `clippy.toml` forbids the underlying calls elsewhere.

use std::{cell::Cell, time::Instant};

use jiff::Timestamp;

/// The function that tells [`now`] the time: the system clock, or a test's simulated one.
pub type Source = fn() -> Timestamp;

thread_local! {
    static SOURCE: Cell<Source> = const { Cell::new(system) };
}

/// Wall-clock time, for values that are stored, compared with Linktree's timestamps or shown to a user.
#[must_use]
pub fn now() -> Timestamp {
    SOURCE.get()()
}

/// Replaces the source of [`now`] on this thread, for a runtime of one thread in simulated time.
pub fn set_source(source: Source) {
    SOURCE.set(source);
}

#[allow(clippy::disallowed_methods, reason = "only this module may read the clock")]
fn system() -> Timestamp {
    Timestamp::now()
}

/// Monotonic time, for durations and deadlines inside one process.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "only this module may read the clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

//! Random jitter that spreads the operator's reconciles and retries over time; all of the operator's jitter comes from
//! here. The numbers are predictable, so no secret and no process name may be derived from them.

use std::cell::Cell;

/// The function that generates the numbers of [`fraction`]: random ones, or a test's repeatable ones.
pub type Source = fn() -> f64;

thread_local! {
    static SOURCE: Cell<Source> = const { Cell::new(rand::random) };
}

/// A random number from 0 up to, but not including, 1.
#[must_use]
pub fn fraction() -> f64 {
    SOURCE.get()()
}

/// Replaces the source of [`fraction`] on this thread, so that a runtime of one thread is repeatable.
pub fn set_source(source: Source) {
    SOURCE.set(source);
}

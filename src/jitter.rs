//! Random jitter that spreads reconciles and retries of the operator over time; the operator has no other source of it.
//! It is predictable: a secret or the name of a process must not be drawn from it.

use std::cell::Cell;

/// Where [`fraction`] takes its numbers from.
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

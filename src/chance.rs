//! The only place that throws dice for the operator: by how much its looks are spread in time. What must not be foretold, a
//! secret or the name of a process, is not drawn here.

use std::cell::Cell;

/// Where [`share`] comes from.
pub type Source = fn() -> f64;

thread_local! {
    static SOURCE: Cell<Source> = const { Cell::new(rand::random) };
}

/// Any number from 0 up to, but not including, 1.
#[must_use]
pub fn share() -> f64 {
    SOURCE.get()()
}

/// From now on this thread's [`share`] is what `source` says: for a runtime on one thread that is to do the same again.
pub fn follow(source: Source) {
    SOURCE.set(source);
}

//! A stack for parsers. They go as deep as what they parse is nested, and a stack that overflows ends the process; what a
//! custom resource may hold is bounded in length, so a stack can be had that holds all that length can make of it.

use std::thread;

/// Only what is touched of it takes memory.
const SIZE: usize = 64 * 1024 * 1024;

/// What `work` returns, done on a deep stack; `None` if there is no room for one, or `work` panicked.
pub(super) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("parser".to_owned()).stack_size(SIZE);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

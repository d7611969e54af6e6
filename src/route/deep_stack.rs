//! Runs a recursive parser on a large stack. Parsers recurse as deeply as their input is nested, and a stack overflow
//! ends the process. The length of the input is bounded by the custom resource's schema, so a bounded stack is large
//! enough.

use std::thread;

/// Size of the stack in bytes. Only the pages that are used take memory.
const SIZE: usize = 64 * 1024 * 1024;

/// Runs `work` on a large stack. Returns `None` if the thread cannot be started or `work` panicked.
pub(super) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("parser".to_owned()).stack_size(SIZE);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

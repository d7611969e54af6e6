//! Runs a recursive parser on a large stack. Parsers recurse as deeply as their input is nested, and a stack overflow
//! ends the process. The length of the input is bounded by the custom resource's schema, so a bounded stack is large
//! enough.

use std::{panic, thread};

/// Size of the stack in bytes. Only the pages that are used take memory.
const SIZE: usize = 64 * 1024 * 1024;

/// Runs `work` on a large stack. Returns `None` if the thread cannot be started. A panic of `work` is the caller's: in the
/// released binary it ends the process, so nothing may depend on catching it.
pub(super) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("parser".to_owned()).stack_size(SIZE);
        let worker = thread.spawn_scoped(scope, work).ok()?;
        Some(worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(levels: u64) -> u64 {
        if levels == 0 { 0 } else { 1 + std::hint::black_box(depth(levels - 1)) }
    }

    #[test]
    fn a_deep_recursion_has_room() {
        assert_eq!(run(|| depth(100_000)), Some(100_000));
    }

    #[test]
    fn a_panic_is_not_swallowed() {
        assert!(panic::catch_unwind(|| run(|| panic!("a defect"))).is_err());
    }
}

//! Random jitter that spreads reconciles and retries over time, and random ids that need not be secret. The numbers are
//! predictable, so no secret and no process name may be derived from them.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use rand::{TryRngCore, rngs::OsRng};

/// The function that generates the numbers of [`fraction`]: random ones, or a test's repeatable ones.
pub type Source = fn() -> f64;

thread_local! {
    static SOURCE: Cell<Source> = const { Cell::new(system) };
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

/// 64 random bits. Without entropy, such as for want of file descriptors, they come from a counter: rand's own
/// generators panic then.
#[must_use]
pub fn bits() -> u64 {
    OsRng.try_next_u64().unwrap_or_else(|_| counted())
}

fn system() -> f64 {
    (bits() >> 11) as f64 / (1_u64 << 53) as f64
}

/// SplitMix64 of a counter and the process.
fn counted() -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed = u64::from(std::process::id()).rotate_left(32);
    let mut mixed = seed.wrapping_add(COUNT.fetch_add(STEP, Ordering::Relaxed));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn jitter_is_spread_with_and_without_entropy() {
        for source in [bits, counted] {
            let drawn: HashSet<u64> = (0..1000).map(|_| source()).collect();
            assert_eq!(drawn.len(), 1000);
            let high = drawn.iter().filter(|bits| **bits >> 63 == 1).count();
            assert!((350..650).contains(&high), "{high}");
        }
        assert!((0..1000).all(|_| (0.0..1.0).contains(&fraction())));
    }
}

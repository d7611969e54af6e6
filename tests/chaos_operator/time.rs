//! Simulated time: tokio's paused clock, and a wall clock that follows it. Each case has a single-threaded runtime, so
//! that idle hours pass at once and the order of events is deterministic.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use linktree_operator::{clock, jitter};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::row;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The error of the operator's wall clock.
    static CLOCK_ERROR: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
    /// The source of the operator's jitter.
    static JITTER: RefCell<StdRng> = RefCell::new(StdRng::seed_from_u64(0));
}

/// 2026-01-01, the start of every case.
const BEGIN: i64 = 1_767_225_600;

fn now() -> Timestamp {
    let passed = BEGAN.get().map(|began| Instant::now().duration_since(began)).unwrap_or_default();
    let passed = SignedDuration::try_from(passed).unwrap();
    Timestamp::from_second(BEGIN).unwrap() + passed + CLOCK_ERROR.get()
}

fn correct() -> Timestamp {
    with_correct_clock(now)
}

/// Sets the error of the operator's wall clock.
pub fn set_clock_error(difference: SignedDuration) {
    CLOCK_ERROR.set(difference);
}

/// Runs `act` with the correct time.
pub fn with_correct_clock<T>(act: impl FnOnce() -> T) -> T {
    let wrong = CLOCK_ERROR.replace(SignedDuration::ZERO);
    let done = act();
    CLOCK_ERROR.set(wrong);
    done
}

/// Runs a case in simulated time.
pub fn simulated<T>(case: impl Future<Output = T>) -> T {
    clock::set_source(now);
    clock::set_steady_source(correct);
    JITTER.set(StdRng::seed_from_u64(row::seed()));
    jitter::set_source(|| JITTER.with_borrow_mut(StdRng::random));
    set_clock_error(SignedDuration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        BEGAN.set(Some(Instant::now()));
        case.await
    })
}

pub async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

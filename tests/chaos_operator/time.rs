//! Simulated time: tokio's paused clock, and a wall clock that follows it. One runtime of one thread per case, so that
//! hours pass as fast as there is nothing to do, and the order of things is the same each time.

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
    /// How wrong the operator's wall clock is.
    static WRONG_BY: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
    /// What the operator spreads its looks by.
    static DICE: RefCell<StdRng> = RefCell::new(StdRng::seed_from_u64(0));
}

/// 2026-01-01, when every case begins.
const BEGIN: i64 = 1_767_225_600;

fn now() -> Timestamp {
    let passed = BEGAN.get().map(|began| Instant::now().duration_since(began)).unwrap_or_default();
    let passed = SignedDuration::try_from(passed).unwrap();
    Timestamp::from_second(BEGIN).unwrap() + passed + WRONG_BY.get()
}

/// Sets the operator's wall clock wrong.
pub fn wrong_by(difference: SignedDuration) {
    WRONG_BY.set(difference);
}

/// Does something by the true time.
pub fn truly<T>(act: impl FnOnce() -> T) -> T {
    let wrong = WRONG_BY.replace(SignedDuration::ZERO);
    let done = act();
    WRONG_BY.set(wrong);
    done
}

/// Runs a case in simulated time.
pub fn simulated<T>(case: impl Future<Output = T>) -> T {
    clock::set_source(now);
    DICE.set(StdRng::seed_from_u64(row::seed()));
    jitter::set_source(|| DICE.with_borrow_mut(StdRng::random));
    wrong_by(SignedDuration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        BEGAN.set(Some(Instant::now()));
        case.await
    })
}

pub async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

//! Webhooks that share one token, in simulated time: goals P7 and P8. The account, its budget, its request queue and
//! its client are the operator's own; Linktree is the simulator with its rate limit. Responses and status writes take
//! time, and processes are killed.
//!
//! A seed repeats a run exactly: there is one thread, and its clock is paused while a task is ready.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use rand::{SeedableRng, rngs::StdRng};

use self::{
    linktree::SimulatedLinktree,
    process::{Process, Webhooks},
};

mod linktree;
mod process;

/// The parameters of a run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub webhooks: usize,
    /// When the operator is killed, and how long there is no leader afterwards.
    pub kills: &'static [(Duration, Duration)],
    /// How many subscriptions are disabled one after another while webhooks are created.
    pub disabled: usize,
    /// How long the spec does not change afterwards.
    pub quiet: Duration,
    pub seed: u64,
}

/// The results of a run.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The time until the last webhook had its subscription.
    pub created_after: Duration,
    /// Requests that Linktree answered with 429.
    pub rate_limited: usize,
    pub reenabled: usize,
    /// The longest time from the decision to re-enable to its request.
    pub reenable_waited: Duration,
    /// Requests per webhook and hour in the quiet time.
    pub calls_per_webhook_hour: f64,
    /// The longest time until the operator detected a subscription disabled in the quiet time.
    pub drift_seen_after: Duration,
    /// Status writes of the budget: while webhooks were created, and in the quiet time.
    pub notes: [usize; 2],
}

/// The sync period, which is the default.
pub const PERIOD: Duration = Duration::from_secs(480);
/// Linktree's rate limit.
pub const REQUESTS_PER_MINUTE: usize = 10;

thread_local! {
    static BEGAN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
}

#[allow(clippy::disallowed_methods, reason = "this function is the simulated clock")]
fn elapsed() -> Duration {
    let began = BEGAN.get().unwrap_or_else(tokio::time::Instant::now);
    BEGAN.set(Some(began));
    tokio::time::Instant::now() - began
}

fn simulated_now() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + elapsed()
}

/// Runs a scenario from an empty account to the end of the quiet time, on a thread with its own clock.
pub fn run(scenario: Scenario) -> Figures {
    let thread = std::thread::spawn(move || {
        linktree_operator::clock::set_source(simulated_now);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("the runtime starts").block_on(play(scenario))
    });
    thread.join().expect("the task ends")
}

async fn play(scenario: Scenario) -> Figures {
    elapsed();
    let random = Arc::new(Mutex::new(StdRng::seed_from_u64(scenario.seed)));
    let linktree = Arc::new(SimulatedLinktree::new(random));
    let webhooks = Arc::new(Webhooks::new(scenario.webhooks));
    let mut process = Process::start(&linktree, &webhooks);

    let disabling = tokio::spawn(Arc::clone(&webhooks).disable_some(Arc::clone(&linktree), scenario.disabled));
    for (at, without_leader) in scenario.kills {
        tokio::time::sleep(at.saturating_sub(elapsed())).await;
        drop(process);
        tokio::time::sleep(*without_leader).await;
        process = Process::start(&linktree, &webhooks);
    }
    webhooks.until_all_registered().await;
    let created_after = elapsed();
    disabling.await.expect("the task ends");
    webhooks.until_none_is_disabled().await;
    let busy = linktree.notes();

    // Earlier work is done by then, so that the lists afterwards belong to the quiet time.
    tokio::time::sleep(2 * PERIOD).await;
    let (before, began) = (linktree.calls(), elapsed());
    let mut drift_seen_after = Duration::ZERO;
    while elapsed() - began < scenario.quiet {
        // Not synchronized with the lists.
        tokio::time::sleep(linktree.between(60, 900)).await;
        drift_seen_after = drift_seen_after.max(process.until_drift_is_seen(&linktree).await);
    }
    let hours = (elapsed() - began).as_secs_f64() / 3600.0;
    let figures = webhooks.waits();
    Figures {
        created_after,
        rate_limited: linktree.rate_limited(),
        reenabled: figures.len(),
        reenable_waited: figures.into_iter().max().unwrap_or_default(),
        calls_per_webhook_hour: (linktree.calls() - before) as f64 / hours / scenario.webhooks as f64,
        drift_seen_after,
        notes: [busy, linktree.notes() - busy],
    }
}

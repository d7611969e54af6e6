//! A thousand webhooks on one token, in simulated time: goals P7 and P8. The account, its budget, its queue and its client
//! are the operator's own; Linktree is the simulator, whose limit on requests is the judge. Between them are answers that
//! take time, a notebook that takes time, and processes that are killed.
//!
//! A seed repeats a run exactly: there is one thread, and its time stands still while anything is to be done.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use rand::{SeedableRng, rngs::StdRng};

use self::{
    linktree::World,
    process::{Process, Webhooks},
};

mod linktree;
mod process;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub webhooks: usize,
    /// When the operator is killed, and how long nobody leads then.
    pub kills: &'static [(Duration, Duration)],
    /// How many subscriptions are disabled while webhooks are still being created, one after another.
    pub disabled: usize,
    /// How long nothing changes afterwards.
    pub quiet: Duration,
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Until the last webhook had its subscription.
    pub created_after: Duration,
    /// Requests that Linktree refused with 429.
    pub refused: usize,
    pub reenabled: usize,
    /// The longest that a re-enable waited, from its being wanted to its being sent.
    pub reenable_waited: Duration,
    /// Requests per webhook and hour while nothing changed.
    pub calls_per_webhook_hour: f64,
    /// The longest until a subscription that was disabled in that time was seen to be.
    pub drift_seen_after: Duration,
    /// Times the use of the budget was written down, while webhooks were created and while nothing changed.
    pub notes: [usize; 2],
}

/// The sync period, which is the default.
pub const PERIOD: Duration = Duration::from_secs(480);
/// Linktree's limit.
pub const REQUESTS_PER_MINUTE: usize = 10;

thread_local! {
    static BEGAN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
}

#[allow(clippy::disallowed_methods, reason = "here the clock is made")]
fn elapsed() -> Duration {
    let began = BEGAN.get().unwrap_or_else(tokio::time::Instant::now);
    BEGAN.set(Some(began));
    tokio::time::Instant::now() - began
}

fn simulated_now() -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + elapsed()
}

/// Runs a scenario from an empty account to the end of the quiet time, on a thread with a clock of its own.
pub fn run(scenario: Scenario) -> Figures {
    let thread = std::thread::spawn(move || {
        linktree_operator::clock::set_source(simulated_now);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime can be made").block_on(play(scenario))
    });
    thread.join().expect("it ends")
}

async fn play(scenario: Scenario) -> Figures {
    elapsed();
    let random = Arc::new(Mutex::new(StdRng::seed_from_u64(scenario.seed)));
    let world = Arc::new(World::new(random));
    let webhooks = Arc::new(Webhooks::new(scenario.webhooks));
    let mut process = Process::start(&world, &webhooks);

    let disabling = tokio::spawn(Arc::clone(&webhooks).disable_some(Arc::clone(&world), scenario.disabled));
    for (at, nobody) in scenario.kills {
        tokio::time::sleep(at.saturating_sub(elapsed())).await;
        drop(process);
        tokio::time::sleep(*nobody).await;
        process = Process::start(&world, &webhooks);
    }
    webhooks.until_all_registered().await;
    let created_after = elapsed();
    disabling.await.expect("it ends");
    webhooks.until_none_is_disabled().await;
    let busy = world.notes();

    // What was begun before is over by then: the lists after it are of quiet times.
    tokio::time::sleep(2 * PERIOD).await;
    let (before, began) = (world.calls(), elapsed());
    let mut drift_seen_after = Duration::ZERO;
    while elapsed() - began < scenario.quiet {
        // Not in step with the lists.
        tokio::time::sleep(world.between(60, 900)).await;
        drift_seen_after = drift_seen_after.max(process.until_drift_is_seen(&world).await);
    }
    let hours = (elapsed() - began).as_secs_f64() / 3600.0;
    let figures = webhooks.waits();
    Figures {
        created_after,
        refused: world.refused(),
        reenabled: figures.len(),
        reenable_waited: figures.into_iter().max().unwrap_or_default(),
        calls_per_webhook_hour: (world.calls() - before) as f64 / hours / scenario.webhooks as f64,
        drift_seen_after,
        notes: [busy, world.notes() - busy],
    }
}

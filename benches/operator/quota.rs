//! Goals P7 and P8, in simulated time: a thousand webhooks that share the budget of one token.

use std::time::Duration;

use super::{
    support::benchmark_report::Row,
    support::quota_simulation::{Figures, PERIOD, REQUESTS_PER_MINUTE, Scenario, run},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A crash with an immediate restart, and the loss of a leader.
const KILLS: &[(Duration, Duration)] =
    &[(Duration::from_secs(40 * 60), Duration::from_secs(1)), (Duration::from_secs(70 * 60), Duration::from_secs(15))];

pub(super) fn rows(quick: bool) -> Vec<Row> {
    let whole = Scenario { webhooks: 1000, kills: KILLS, disabled: 4, quiet: 240 * MINUTE, seed: 1 };
    let moment = Scenario { webhooks: 60, kills: &[], disabled: 1, quiet: 30 * MINUTE, seed: 1 };
    let scenario = if quick { moment } else { whole };
    let Figures {
        created_after,
        rate_limited,
        reenabled,
        reenable_waited,
        calls_per_webhook_hour,
        drift_seen_after,
        notes,
    } = run(scenario);
    let minutes = created_after.as_secs_f64() / 60.0;
    let many = if quick { 1 } else { 12 };
    let calm = run(Scenario { kills: &[], disabled: many, quiet: Duration::ZERO, seed: 2, ..scenario });
    let calm_minutes = calm.created_after.as_secs_f64() / 60.0;
    let after_a_kill = reenable_waited.as_secs_f64();
    let webhooks = scenario.webhooks;
    let period = PERIOD.as_secs_f64();
    let hourly = format!("calls per webhook-hour, {webhooks} webhooks, no changes");
    vec![
        if quick {
            // A list has the same cost with few webhooks.
            Row::note("P7", hourly, format!("{calls_per_webhook_hour:.2}"))
        } else {
            Row::at_most("P7", hourly, calls_per_webhook_hour, 0.1, "")
        },
        Row::at_most(
            "P7",
            "a disabled subscription is detected after at most",
            drift_seen_after.as_secs_f64(),
            period,
            "s",
        ),
        Row::note("P7", "status writes of the budget without changes", format!("{} times", notes[1])),
        Row::at_most(
            "P8",
            format!(
                "{webhooks} creates at {REQUESTS_PER_MINUTE} a minute, {} processes killed, {reenabled} re-enables between",
                scenario.kills.len()
            ),
            minutes,
            106.0,
            "min",
        ),
        Row::at_most("P8", "answers 429", rate_limited as f64, 0.0, ""),
        Row::at_most(
            "P8",
            format!("a re-enable behind them is sent after at most, of {many}"),
            calm.reenable_waited.as_secs_f64(),
            6.0,
            "s",
        ),
        Row::note("P8", "the same with killed processes", format!("{after_a_kill:.1} s")),
        Row::note("P8", "status writes of the budget meanwhile", format!("{} times", notes[0])),
        Row::note("P8", "the same creates without kills", format!("{calm_minutes:.1} min")),
    ]
}

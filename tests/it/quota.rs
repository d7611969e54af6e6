//! A quick version of goals P7 and P8. `make bench-operator` runs a thousand webhooks; docs/benchmarks.md has the
//! results.

use std::time::Duration;

use crate::support::quota_simulation::{PERIOD, REQUESTS_PER_MINUTE, Scenario, run};

const MINUTE: Duration = Duration::from_secs(60);
/// A crash with an immediate restart, and the loss of a leader.
const KILLS: &[(Duration, Duration)] =
    &[(Duration::from_secs(200), Duration::from_secs(1)), (Duration::from_secs(500), Duration::from_secs(15))];

#[test]
fn a_hundred_webhooks_on_one_token_are_created_at_full_rate_across_two_crashes_without_429() {
    for seed in 0..3 {
        let figures = run(Scenario { webhooks: 100, kills: KILLS, disabled: 2, quiet: 90 * MINUTE, seed });
        assert_eq!(figures.rate_limited, 0, "{figures:?}");
        let full_rate = MINUTE * u32::try_from(100 / REQUESTS_PER_MINUTE).unwrap();
        let lists_and_reenables = MINUTE;
        let crashes = Duration::from_secs(2 * (91 + 15));
        let most = full_rate + lists_and_reenables + crashes;
        assert!(figures.created_after <= most, "{figures:?}");
        assert_eq!(figures.reenabled, 2);
        assert!(figures.reenable_waited <= Duration::from_secs(6), "{figures:?}");
        assert!(figures.calls_per_webhook_hour <= 0.1, "{figures:?}");
        assert!(figures.drift_seen_after <= PERIOD, "{figures:?}");
        assert_eq!(figures.notes[1], 0, "a status write without a change: {figures:?}");
    }
}

#[test]
fn a_seed_repeats_a_run() {
    let scenario = Scenario { webhooks: 30, kills: &[(MINUTE, MINUTE)], disabled: 1, quiet: Duration::ZERO, seed: 7 };
    assert_eq!(format!("{:?}", run(scenario)), format!("{:?}", run(scenario)));
}

//! How long a sink usually takes, and from when on an attempt counts as slow. Pure.

use std::{collections::VecDeque, time::Duration};

/// The number of successes that the median is taken of.
const SAMPLES: usize = 31;
/// An attempt is slow after this many times the median, and not before the minimum.
const FACTOR: u32 = 4;
const SLOW_MIN: Duration = Duration::from_millis(250);
/// The limit before the first success.
const SLOW_UNKNOWN: Duration = Duration::from_millis(500);

/// The durations of the last successes.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    samples: VecDeque<Duration>,
    median: Option<Duration>,
}

impl Latency {
    /// Records the duration of a success.
    pub(super) fn record(&mut self, duration: Duration) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(duration);
        let mut sorted: Vec<Duration> = self.samples.iter().copied().collect();
        let middle = sorted.len() / 2;
        self.median = Some(*sorted.select_nth_unstable(middle).1);
    }

    /// The duration from which on an attempt is slow.
    pub(super) fn slow(&self) -> Duration {
        self.median.map_or(SLOW_UNKNOWN, |median| median.saturating_mul(FACTOR).max(SLOW_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(millis: impl IntoIterator<Item = u64>) -> u128 {
        let mut latency = Latency::default();
        millis.into_iter().for_each(|millis| latency.record(Duration::from_millis(millis)));
        latency.slow().as_millis()
    }

    #[test]
    fn an_attempt_is_slow_after_four_times_the_median_of_the_last_successes() {
        for (durations, expected) in [
            (vec![], 500),
            (vec![5], 250),
            (vec![100], 400),
            (vec![100, 100, 9000], 400),
            ([vec![5; 100], vec![1000; 31]].concat(), 4000),
            ([vec![1000; 31], vec![5; 15]].concat(), 4000),
            ([vec![1000; 31], vec![5; 16]].concat(), 250),
        ] {
            assert_eq!(after(durations.clone()), expected, "{durations:?}");
        }
    }
}

//! Forecasts when undelivered events fill the journal. Pure: clocks and measurements are passed in.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    receiver::journal::{Backlog, inspect::Inventory},
    route::status::{JournalUsage, RemovedSink},
};

/// The interval of samples, and how long they are kept.
const INTERVAL: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(3600);
/// The growth over the whole window counts, or that over this time if it is faster.
const RECENT: Duration = Duration::from_secs(300);
/// A shorter time shows no growth.
const SHORTEST: Duration = Duration::from_secs(60);
/// Undelivered events that use a smaller part of the capacity are not forecast.
const SMALLEST_PART: u64 = 64;
/// A later time is not forecast.
const HORIZON_SECONDS: i64 = 30 * 86_400;
/// A forecast stays while it is off by at most this part of the remaining time, so that it does not flap.
const TOLERANCE_PART: i64 = 8;
/// The estimated bytes of an identity with its two indexes.
const IDENTITY_BYTES: u64 = 128;

/// The growth of the undelivered events.
#[derive(Debug, Default)]
pub struct Forecast {
    samples: VecDeque<Sample>,
    full_time: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    held_bytes: u64,
}

/// How the journal's bytes are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    /// By events that a sink still has to get, and dead letters.
    held_bytes: u64,
    /// The free bytes, and those of events that are deleted when room is needed.
    room_bytes: u64,
}

impl Forecast {
    /// Adds a measurement and returns how full the journal is, at `now` (seconds since the epoch) and `at`.
    pub fn observe(&mut self, backlog: &[Backlog], inventory: &Inventory, now: i64, at: Instant) -> JournalUsage {
        let (filled_by, held) = largest(backlog, &inventory.removed);
        JournalUsage {
            events: inventory.events,
            bytes: inventory.bytes,
            capacity_bytes: inventory.capacity_bytes,
            full_time: self.full_time(Use::of(inventory, held), now, at),
            filled_by,
        }
    }

    fn full_time(&mut self, usage: Use, now: i64, at: Instant) -> Option<i64> {
        let sample = Sample { at, held_bytes: usage.held_bytes };
        if self.samples.back().is_none_or(|last| at.saturating_duration_since(last.at) >= INTERVAL) {
            self.samples.push_back(sample);
        }
        while self.samples.front().is_some_and(|first| at.saturating_duration_since(first.at) > WINDOW) {
            self.samples.pop_front();
        }
        let next = self.estimate(usage, sample, now);
        self.full_time = match (self.full_time, next) {
            (Some(last), Some(next)) if is_near(last, next, now) => Some(last),
            (_, next) => next,
        };
        self.full_time
    }

    fn estimate(&self, usage: Use, sample: Sample, now: i64) -> Option<i64> {
        let Use { held_bytes, room_bytes } = usage;
        if held_bytes < held_bytes.saturating_add(room_bytes) / SMALLEST_PART {
            return None;
        }
        if room_bytes == 0 {
            return Some(now);
        }
        let recent = self.samples.iter().find(|first| sample.at.saturating_duration_since(first.at) <= RECENT);
        let seconds = [self.samples.front(), recent]
            .into_iter()
            .flatten()
            .filter_map(|first| seconds_until_full(*first, sample, room_bytes))
            .min()?;
        (seconds <= HORIZON_SECONDS).then(|| now.saturating_add(seconds))
    }
}

impl Use {
    /// `held` events are held.
    fn of(inventory: &Inventory, held: u64) -> Self {
        let Inventory { events, identities, bytes, capacity_bytes, .. } = inventory;
        let of_events = bytes.saturating_sub(identities.saturating_mul(IDENTITY_BYTES));
        let held_bytes = u128::from(of_events) * u128::from(held.min(*events)) / u128::from((*events).max(1));
        let held_bytes = u64::try_from(held_bytes).unwrap_or(u64::MAX);
        let room_bytes = capacity_bytes.saturating_sub(*bytes).saturating_add(of_events.saturating_sub(held_bytes));
        Use { held_bytes, room_bytes }
    }
}

/// The sink that holds the most events, and their number.
fn largest(backlog: &[Backlog], removed: &[RemovedSink]) -> (Option<String>, u64) {
    let current = backlog.iter().map(|it| (&it.sink, it.waiting.saturating_add(it.dead_lettered)));
    let removed = removed.iter().map(|it| (&it.name, it.backlog.saturating_add(it.dead_lettered)));
    let largest = current.chain(removed).filter(|(_, held)| *held > 0).max_by_key(|(_, held)| *held);
    largest.map_or((None, 0), |(sink, held)| (Some(sink.clone()), held))
}

/// When `room_bytes` are used up if they are used at the rate between two samples.
fn seconds_until_full(first: Sample, last: Sample, room_bytes: u64) -> Option<i64> {
    let elapsed = last.at.saturating_duration_since(first.at);
    let grown = last.held_bytes.checked_sub(first.held_bytes).filter(|grown| *grown > 0)?;
    if elapsed < SHORTEST {
        return None;
    }
    let seconds = u128::from(room_bytes) * elapsed.as_millis() / 1000 / u128::from(grown);
    Some(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn is_near(last: i64, next: i64, now: i64) -> bool {
    let remaining = last.saturating_sub(now);
    // Full: the time when it became full stays.
    (remaining <= 0 && next <= now) || (next.saturating_sub(last)).abs() <= remaining / TOLERANCE_PART
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const NOW: i64 = 1_700_000_000;
    const CAPACITY: u64 = 1_000_000;

    fn held(held_bytes: u64) -> Use {
        Use { held_bytes, room_bytes: CAPACITY.saturating_sub(held_bytes) }
    }

    /// The forecasts, in seconds from then, for the bytes that are held each half minute.
    fn forecasts(bytes: impl IntoIterator<Item = u64>) -> Vec<Option<i64>> {
        let (began, mut forecast) = (clock::monotonic(), Forecast::default());
        let mut second = 0;
        let observe = |bytes| {
            let (now, at) = (NOW + second, began + Duration::from_secs(second.unsigned_abs()));
            second += 30;
            forecast.full_time(held(bytes), now, at).map(|full| full - now)
        };
        bytes.into_iter().map(observe).collect()
    }

    #[test]
    fn a_steady_growth_is_forecast_after_a_minute_and_the_time_stays() {
        let growth = (0..200_u64).map(|n| 20_000 + n * 1_000);
        let found = forecasts(growth);
        assert_eq!(found[..2], [None, None]);
        assert_eq!(found[2], Some((CAPACITY as i64 - 22_000) * 30 / 1_000));
        for (index, seconds) in found.iter().enumerate().skip(2) {
            assert_eq!(seconds.unwrap() + 30 * index as i64, found[2].unwrap() + 60, "it does not move");
        }
    }

    #[test]
    fn an_outage_after_a_quiet_hour_is_forecast_by_its_own_rate() {
        let found = forecasts(std::iter::repeat_n(20_000, 120).chain((1..=12).map(|n| 20_000 + n * 1_000)));
        assert!(found[..120].iter().all(Option::is_none));
        let (last, true_seconds) = (found.last().unwrap().unwrap(), (CAPACITY as i64 - 32_000) * 30 / 1_000);
        assert!((last - true_seconds).abs() <= true_seconds / 5, "{last} of {true_seconds}");
    }

    #[test]
    fn without_growth_there_is_no_forecast() {
        assert!(forecasts([500_000; 200]).iter().all(Option::is_none));
        assert!(forecasts((0..200).map(|n| 500_000 - n * 1_000)).iter().all(Option::is_none));
        assert!(forecasts((0..200).map(|n| n * 2)).iter().all(Option::is_none), "too little is held");
        let slow = forecasts((0..200).map(|n| 500_000 + n / 10));
        assert!(slow.iter().flatten().all(|seconds| *seconds <= HORIZON_SECONDS));
    }

    #[test]
    fn the_forecast_ends_when_the_sink_catches_up() {
        let found = forecasts((0..20).map(|n| 500_000 + n * 1_000).chain((0..200).map(|n| 519_000 - n * 2_000)));
        assert!(found[19].is_some() && found.last().unwrap().is_none());
        let changes = found.windows(2).filter(|pair| pair[0].is_some() != pair[1].is_some()).count();
        assert_eq!(changes, 2, "once on, once off: {found:?}");
    }

    #[test]
    fn a_full_journal_keeps_the_time_when_it_became_full() {
        let found = forecasts((0..40).map(|n| (500_000 + n * 20_000).min(CAPACITY)));
        assert!(found[26..].windows(2).all(|pair| pair[1].unwrap() == pair[0].unwrap() - 30), "{found:?}");
        assert!(found[30].unwrap() < 0);
    }

    #[test]
    fn events_that_can_be_evicted_are_room() {
        let inventory = |events, bytes| Inventory { events, bytes, capacity_bytes: CAPACITY, ..Inventory::default() };
        let usage = Use::of(&inventory(1_000, 900_000), 100);
        assert_eq!(usage, Use { held_bytes: 90_000, room_bytes: 910_000 });
        assert_eq!(Use::of(&inventory(0, 0), 0), Use { held_bytes: 0, room_bytes: CAPACITY });
        let backlog = |sink: &str, waiting, dead_lettered| Backlog { sink: sink.into(), waiting, dead_lettered };
        let removed = RemovedSink { name: "old".into(), backlog: 1, dead_lettered: 8 };
        let (sink, held) = largest(&[backlog("a", 3, 5), backlog("b", 4, 3)], &[removed]);
        assert_eq!((sink.as_deref(), held), (Some("old"), 9));
        assert_eq!(largest(&[backlog("a", 0, 0)], &[]), (None, 0));
    }

    proptest! {
        #[test]
        fn a_forecast_is_never_beyond_the_horizon(bytes in proptest::collection::vec(0..=CAPACITY, 0..300)) {
            for seconds in forecasts(bytes).into_iter().flatten() {
                prop_assert!(seconds <= HORIZON_SECONDS);
            }
        }
    }
}

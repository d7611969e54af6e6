//! Counts of the last hour: one slot per minute, in a ring. Pure.

use crate::route::status::DeliveryCounts;

const MINUTES: usize = 60;

/// The counts of the current minute and the 59 before it.
#[derive(Clone, Debug)]
pub struct LastHour([(i64, DeliveryCounts); MINUTES]);

impl Default for LastHour {
    fn default() -> Self {
        LastHour([(i64::MIN, DeliveryCounts::default()); MINUTES])
    }
}

impl LastHour {
    /// The counts of the minute that contains `now` (seconds since the epoch), to increment.
    pub fn at(&mut self, now: i64) -> &mut DeliveryCounts {
        let minute = now.div_euclid(60);
        let (slot, counts) = &mut self.0[minute.rem_euclid(MINUTES as i64) as usize];
        if *slot != minute {
            (*slot, *counts) = (minute, DeliveryCounts::default());
        }
        counts
    }

    /// The sum over the hour that ends at `now`. Counts after `now`, from before a clock was set back, are excluded.
    #[must_use]
    pub fn sum(&self, now: i64) -> DeliveryCounts {
        let minute = now.div_euclid(60);
        let recent = self.0.iter().filter(|(slot, _)| (minute - MINUTES as i64 + 1..=minute).contains(slot));
        recent.fold(DeliveryCounts::default(), |sum, (_, counts)| add(sum, *counts))
    }
}

/// Adds two sets of counts. It names each field, so that a new field that is not summed does not compile.
fn add(left: DeliveryCounts, right: DeliveryCounts) -> DeliveryCounts {
    let DeliveryCounts {
        verified,
        duplicate,
        conflict,
        unknown_type,
        rejected_missing_header,
        rejected_malformed,
        rejected_signature,
        rejected_stale,
        rejected_request,
        unavailable,
        forwarded,
        dead_lettered,
    } = right;
    DeliveryCounts {
        verified: left.verified + verified,
        duplicate: left.duplicate + duplicate,
        conflict: left.conflict + conflict,
        unknown_type: left.unknown_type + unknown_type,
        rejected_missing_header: left.rejected_missing_header + rejected_missing_header,
        rejected_malformed: left.rejected_malformed + rejected_malformed,
        rejected_signature: left.rejected_signature + rejected_signature,
        rejected_stale: left.rejected_stale + rejected_stale,
        rejected_request: left.rejected_request + rejected_request,
        unavailable: left.unavailable + unavailable,
        forwarded: left.forwarded + forwarded,
        dead_lettered: left.dead_lettered + dead_lettered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_700_006_400;

    fn verified(hour: &LastHour, now: i64) -> u64 {
        hour.sum(now).verified
    }

    #[test]
    fn a_delivery_counts_for_an_hour() {
        let mut hour = LastHour::default();
        hour.at(NOON).verified += 1;
        hour.at(NOON + 59).verified += 1;
        hour.at(NOON + 60).verified += 1;
        assert_eq!(verified(&hour, NOON), 2, "the next minute is in the future");
        assert_eq!(verified(&hour, NOON + 60), 3);
        assert_eq!(verified(&hour, NOON + 59 * 60 + 59), 3);
        assert_eq!(verified(&hour, NOON + 60 * 60), 1);
        assert_eq!(verified(&hour, NOON + 61 * 60), 0);
    }

    #[test]
    fn a_reused_slot_starts_from_zero() {
        let mut hour = LastHour::default();
        hour.at(NOON).forwarded += 5;
        hour.at(NOON + 3600).forwarded += 1;
        assert_eq!(hour.sum(NOON + 3600).forwarded, 1);
    }

    #[test]
    fn counts_of_the_future_are_excluded_after_a_clock_is_set_back() {
        let mut hour = LastHour::default();
        hour.at(NOON).verified += 1;
        assert_eq!(verified(&hour, NOON - 7200), 0);
        hour.at(-1).verified += 1;
        assert_eq!(verified(&hour, -1), 1, "also before the epoch");
    }
}

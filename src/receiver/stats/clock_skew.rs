//! Detects that this machine's clock and the one that signs deliveries disagree. Pure: it compares the signed time of
//! verified deliveries, which cannot be forged, with their arrival.
//!
//! A retry with the original signature also arrives late, but retries come 10, 40, 130, 400 and 1,210 s after the first
//! attempt, so consecutive ones do not agree on one offset; with a wrong clock all deliveries agree.

/// The number of consecutive deliveries that must agree, each signed in a different second.
const SAMPLES: usize = 8;
/// How far the offsets of the samples may differ: by network delays, and by the clocks of Linktree's machines.
const SPREAD_SECONDS: i64 = 10;
/// The smallest offset that counts as skew; a smaller one may be a slow network or the rounding to seconds.
const MIN_SECONDS: i64 = 30;

/// The seconds from signature to arrival of each of the last deliveries.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockSkew {
    samples: [Option<Sample>; SAMPLES],
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    sent_at: i64,
    off: i64,
}

impl ClockSkew {
    /// Records a delivery signed at `sent_at` that arrived at `now`, both in seconds since the epoch. A delivery signed
    /// in the same second as a sample is ignored: it may be a repetition of that sample's delivery.
    pub fn observe(&mut self, sent_at: i64, now: i64) {
        if self.samples.iter().flatten().any(|sample| sample.sent_at == sent_at) {
            return;
        }
        self.samples[self.next] = Some(Sample { sent_at, off: now.saturating_sub(sent_at) });
        self.next = (self.next + 1) % SAMPLES;
    }

    /// By how many seconds this machine's clock is ahead (negative: behind), once the samples agree.
    #[must_use]
    pub fn estimate(&self) -> Option<i64> {
        let mut offs = [0; SAMPLES];
        for (off, sample) in offs.iter_mut().zip(self.samples) {
            *off = sample?.off;
        }
        offs.sort_unstable();
        let (least, most) = (offs[0], offs[SAMPLES - 1]);
        let agree = most.saturating_sub(least) <= SPREAD_SECONDS;
        let off = least >= MIN_SECONDS || most <= -MIN_SECONDS;
        (agree && off).then_some(offs[SAMPLES / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000;

    /// The estimate after deliveries signed 60 s apart arrived with these offsets.
    fn estimate(offs: &[i64]) -> Option<i64> {
        let mut skew = ClockSkew::default();
        for (sent_at, off) in (START..).step_by(60).zip(offs) {
            skew.observe(sent_at, sent_at + off);
        }
        skew.estimate()
    }

    #[test]
    fn deliveries_that_agree_show_the_offset_of_the_clock() {
        assert_eq!(estimate(&[95, 96, 95, 97, 95, 95, 99, 95]), Some(95));
        assert_eq!(estimate(&[-3600; 8]), Some(-3600));
        assert_eq!(estimate(&[0, 1, 0, 500, 95, 95, 95, 95, 95, 95, 95, 95]), Some(95), "the last eight count");
    }

    #[test]
    fn too_few_or_disagreeing_or_small_offsets_show_nothing() {
        for offs in [
            &[][..],
            &[95; 7],
            &[0; 8],
            &[29; 8],
            &[-29; 8],
            &[10, 40, 130, 400, 1210, 10, 40, 130],
            &[95, 95, 95, 95, 95, 95, 95, 1],
            &[-40, 40, -40, 40, -40, 40, -40, 40],
        ] {
            assert_eq!(estimate(offs), None, "{offs:?}");
        }
    }

    #[test]
    fn a_repeated_delivery_counts_once() {
        let mut skew = ClockSkew::default();
        for later in 0..100 {
            skew.observe(START, START + 400 + later % 5);
        }
        assert_eq!(skew.estimate(), None);
    }

    #[test]
    fn a_corrected_clock_shows_with_the_next_delivery() {
        assert_eq!(estimate(&[95, 95, 95, 95, 95, 95, 95, 95, 1]), None);
    }
}

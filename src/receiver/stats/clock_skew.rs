//! Notices that this machine's clock and the one that signs deliveries disagree. Pure: it sees when deliveries that a
//! key verified were signed and when they came, and nobody can forge those.
//!
//! A retry that was not signed afresh looks late too, but retries come 10, 40, 130, 400 and 1,210 s after the first
//! attempt, so a row of them does not agree on one offset; a wrong clock makes all of them agree.

/// So many deliveries in a row have to agree, each signed in a second of its own.
const SAMPLES: usize = 8;
/// By so much they may differ: the time deliveries are under way, and Linktree's own machines.
const SPREAD_SECONDS: i64 = 10;
/// Less is no skew, but a slow network or an early tick.
const LEAST_SECONDS: i64 = 30;

/// The last deliveries, as seconds from signature to arrival.
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
    /// A delivery signed at `sent_at` came at `now`, both in seconds since the epoch. Another one signed in a second
    /// that is among the samples tells nothing new: it may be a repetition.
    pub fn observe(&mut self, sent_at: i64, now: i64) {
        if self.samples.iter().flatten().any(|sample| sample.sent_at == sent_at) {
            return;
        }
        self.samples[self.next] = Some(Sample { sent_at, off: now.saturating_sub(sent_at) });
        self.next = (self.next + 1) % SAMPLES;
    }

    /// By how many seconds this machine's clock is ahead (negative: behind), once the last deliveries agree on it.
    #[must_use]
    pub fn estimate(&self) -> Option<i64> {
        let mut offs = [0; SAMPLES];
        for (off, sample) in offs.iter_mut().zip(self.samples) {
            *off = sample?.off;
        }
        offs.sort_unstable();
        let (least, most) = (offs[0], offs[SAMPLES - 1]);
        let agree = most.saturating_sub(least) <= SPREAD_SECONDS;
        let off = least >= LEAST_SECONDS || most <= -LEAST_SECONDS;
        (agree && off).then_some(offs[SAMPLES / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000;

    /// What is estimated after deliveries signed 60 s apart arrived with these offsets.
    fn estimate(offs: &[i64]) -> Option<i64> {
        let mut skew = ClockSkew::default();
        for (sent_at, off) in (START..).step_by(60).zip(offs) {
            skew.observe(sent_at, sent_at + off);
        }
        skew.estimate()
    }

    #[test]
    fn deliveries_that_agree_show_by_how_much_the_clock_is_off() {
        assert_eq!(estimate(&[95, 96, 95, 97, 95, 95, 99, 95]), Some(95));
        assert_eq!(estimate(&[-3600; 8]), Some(-3600));
        assert_eq!(estimate(&[0, 1, 0, 500, 95, 95, 95, 95, 95, 95, 95, 95]), Some(95), "the last eight count");
    }

    #[test]
    fn what_does_not_agree_or_is_little_or_few_shows_nothing() {
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
    fn one_delivery_that_comes_again_and_again_counts_once() {
        let mut skew = ClockSkew::default();
        for later in 0..100 {
            skew.observe(START, START + 400 + later % 5);
        }
        assert_eq!(skew.estimate(), None);
    }

    #[test]
    fn a_clock_that_was_mended_is_seen_with_the_next_delivery() {
        assert_eq!(estimate(&[95, 95, 95, 95, 95, 95, 95, 95, 1]), None);
    }
}

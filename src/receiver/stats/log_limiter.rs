//! Keeps one kind of log line to one per [`PERIOD`], however often it has a reason: anybody can send what is refused,
//! and nobody should be able to fill a disk with it. Pure.

use std::time::{Duration, Instant};

/// How far apart two lines of a kind are.
pub const PERIOD: Duration = Duration::from_secs(10);

/// One kind of log line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLimiter {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether a line may be written at `now`; then how many were held back since the one before.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        match self.last {
            Some(last) if now.duration_since(last) < PERIOD => {
                self.suppressed += 1;
                None
            }
            Some(_) | None => {
                self.last = Some(now);
                Some(std::mem::take(&mut self.suppressed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_first_line_passes_and_later_ones_are_counted() {
        let (start, mut limiter) = (clock::monotonic(), LogLimiter::default());
        assert_eq!(limiter.admit(start), Some(0));
        assert_eq!(limiter.admit(start + Duration::from_secs(1)), None);
        assert_eq!(limiter.admit(start + Duration::from_secs(9)), None);
        assert_eq!(limiter.admit(start + PERIOD), Some(2));
        assert_eq!(limiter.admit(start + 2 * PERIOD), Some(0));
    }
}

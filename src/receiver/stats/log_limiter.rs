//! Limits one kind of log line to one per [`PERIOD`]: anyone can send requests that are rejected, and they must not
//! fill a disk. Pure.

use std::time::{Duration, Instant};

/// The minimum interval between two lines of a kind.
pub const PERIOD: Duration = Duration::from_secs(10);

/// The rate limit of one kind of log line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLimiter {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimiter {
    /// Whether a line may be written at `now`; if so, the number of lines suppressed since the last one.
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
    fn the_first_line_is_written_and_suppressed_lines_are_counted() {
        let (start, mut limiter) = (clock::monotonic(), LogLimiter::default());
        assert_eq!(limiter.admit(start), Some(0));
        assert_eq!(limiter.admit(start + Duration::from_secs(1)), None);
        assert_eq!(limiter.admit(start + Duration::from_secs(9)), None);
        assert_eq!(limiter.admit(start + PERIOD), Some(2));
        assert_eq!(limiter.admit(start + 2 * PERIOD), Some(0));
    }
}

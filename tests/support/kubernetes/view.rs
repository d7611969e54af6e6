//! Staleness of lists and watches, as with caches: delayed, reordered, or with a gap that only a new list closes. A GET
//! of one object is never stale.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;

/// The staleness. By default none.
pub struct View {
    /// The maximum delay of a batch of watch events.
    pub late: Duration,
    /// The maximum age of a list.
    pub past: Duration,
    /// One in this number of watches begins with 410 Gone.
    pub gone: Option<u32>,
    /// Lists are in random order.
    pub shuffled: bool,
    pub random: StdRng,
}

impl Default for View {
    fn default() -> Self {
        View {
            late: Duration::ZERO,
            past: Duration::ZERO,
            gone: None,
            shuffled: false,
            random: StdRng::seed_from_u64(0),
        }
    }
}

impl View {
    pub fn lateness(&mut self) -> Duration {
        self.late.mul_f64(self.random.random())
    }

    pub fn age(&mut self) -> Duration {
        self.past.mul_f64(self.random.random())
    }

    pub fn is_gone(&mut self) -> bool {
        self.gone.is_some_and(|one_in| self.random.random_range(0..one_in) == 0)
    }

    pub fn order(&mut self, items: &mut [Value]) {
        if self.shuffled {
            items.shuffle(&mut self.random);
        }
    }
}

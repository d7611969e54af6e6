//! How the API server's lists and watches lag behind what is true, as caches do: late, in another order, or with a gap
//! that only a new list closes. Reads of one object are never stale.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;

/// By default everything is seen at once.
pub struct View {
    /// Each batch of events comes this late at most.
    pub late: Duration,
    /// Lists are of up to this long ago.
    pub past: Duration,
    /// One in so many watches begins with 410 Gone.
    pub gone: Option<u32>,
    /// Lists come in any order.
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

//! The time for which this process has watched each marked claim, by the steady clock. Pure.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;

/// The steady time at which each marked claim, by its uid, was found or its mark was written.
#[derive(Clone, Debug, Default)]
pub struct Counted(HashMap<String, Timestamp>);

impl Counted {
    /// The time that was counted for a claim. It is zero for one that was not counted yet, which begins now.
    pub fn of(&mut self, claim: &str, now: Timestamp) -> Duration {
        let began = *self.0.entry(claim.to_owned()).or_insert(now);
        Duration::try_from(now.duration_since(began)).unwrap_or_default()
    }

    /// Begins again for a claim, whose users were read.
    pub fn begin(&mut self, claim: &str, now: Timestamp) {
        self.0.insert(claim.to_owned(), now);
    }

    /// Drops all other claims than these.
    pub fn retain(&mut self, claims: &HashSet<String>) {
        self.0.retain(|claim, _| claims.contains(claim));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_is_counted_from_the_first_sweep_that_found_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut counted = Counted::default();
        assert_eq!(counted.of("a", at(100)), Duration::ZERO);
        assert_eq!(counted.of("a", at(160)), Duration::from_secs(60));
        counted.begin("a", at(160));
        assert_eq!(counted.of("a", at(170)), Duration::from_secs(10));
        assert_eq!(counted.of("b", at(170)), Duration::ZERO);
        counted.retain(&HashSet::from(["b".to_owned()]));
        assert_eq!((counted.of("a", at(200)), counted.of("b", at(200))), (Duration::ZERO, Duration::from_secs(30)));
        assert_eq!(counted.0.len(), 2);
    }
}

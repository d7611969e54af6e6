//! Who leads: the rules of election by a Lease, as a pure state machine that is told what was seen and when.
//!
//! Other processes' clocks are never believed: how long a holder has been silent is measured from the moment *we* last
//! saw its record change, by our own monotonic clock. So a new candidate waits one whole duration after its first look.

use std::time::{Duration, Instant};

/// How long a leader that is not heard of keeps its lease.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// When a leader that cannot renew must have stopped: before anyone else may begin.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the leader renews, and how often an attempt is repeated.
pub const RETRY: Duration = Duration::from_secs(2);

/// What a Lease says, as far as it matters to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Nobody, after a leader ended cleanly.
    pub holder: Option<String>,
    /// How long the holder may be silent.
    pub duration: Duration,
    /// Changes with every renewal. Only compared, never read as a time.
    pub renewed: Option<String>,
}

/// What a candidate should do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write the lease in our name.
    Claim,
    /// Look again after this time at the latest.
    Wait(Duration),
    /// We led, and must not any more.
    Lost,
}

/// One candidate's view of the election.
#[derive(Debug)]
pub struct Election {
    identity: String,
    seen: Option<(Record, Instant)>,
    /// When the last write that made or kept us leader was *begun*: others count from when they saw it, which is later.
    claimed: Option<Instant>,
}

impl Election {
    /// `identity` must be this process's alone: a lease in its name is taken for one of an earlier life.
    #[must_use]
    pub fn new(identity: String) -> Self {
        Election { identity, seen: None, claimed: None }
    }

    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The lease as it was just read. That it is gone frees nobody's place: it may have been deleted by hand, and the
    /// leader makes it anew.
    pub fn observe(&mut self, record: Option<Record>, now: Instant) {
        let Some(record) = record else { return };
        if self.seen.as_ref().is_none_or(|(known, _)| *known != record) {
            self.seen = Some((record, now));
        }
    }

    /// A write of ours, begun at `begun`, was accepted.
    pub fn claimed(&mut self, record: Record, begun: Instant) {
        self.seen = Some((record, begun));
        self.claimed = Some(begun);
    }

    /// Until when we lead, if we do.
    #[must_use]
    pub fn leads_until(&self) -> Option<Instant> {
        self.claimed.map(|claimed| claimed + RENEW_DEADLINE)
    }

    #[must_use]
    pub fn next(&self, now: Instant) -> Next {
        let holder = self.seen.as_ref().and_then(|(record, _)| record.holder.as_deref());
        match (self.claimed, &self.seen) {
            (Some(claimed), _) if now >= claimed + RENEW_DEADLINE || holder != Some(self.identity.as_str()) => {
                Next::Lost
            }
            (Some(claimed), _) if now < claimed + RETRY => Next::Wait(claimed + RETRY - now),
            (Some(_), _) | (None, None) => Next::Claim,
            (None, Some(_)) if holder.is_none_or(|holder| holder == self.identity) => Next::Claim,
            (None, Some((record, at))) => match (*at + record.duration).checked_duration_since(now) {
                None | Some(Duration::ZERO) => Next::Claim,
                Some(left) => Next::Wait(left.min(RETRY)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn record(holder: &str, renewal: &str) -> Record {
        let holder = (!holder.is_empty()).then(|| holder.to_owned());
        Record { holder, duration: LEASE_DURATION, renewed: Some(renewal.to_owned()) }
    }

    /// A leader whose claim was begun at the returned moment.
    fn leader() -> (Election, Instant) {
        let (mut us, now) = (Election::new("us".into()), clock::monotonic());
        us.claimed(record("us", "1"), now);
        (us, now)
    }

    #[test]
    fn what_is_free_is_taken_at_once() {
        let now = clock::monotonic();
        for (case, found) in [
            ("no lease", None),
            ("a leader that ended cleanly", Some(record("", "1"))),
            ("ours from an earlier life", Some(record("us", "1"))),
        ] {
            let mut us = Election::new("us".into());
            us.observe(found, now);
            assert_eq!(us.next(now), Next::Claim, "{case}");
        }
    }

    #[test]
    fn a_silent_holder_is_replaced_after_its_duration_by_our_clock_and_not_before() {
        let (mut us, start) = (Election::new("us".into()), clock::monotonic());
        us.observe(Some(record("other", "1")), start);
        assert_eq!(us.next(start), Next::Wait(RETRY));
        us.observe(Some(record("other", "2")), start + seconds(10));
        assert_eq!(us.next(start + seconds(24)), Next::Wait(seconds(1)), "it was heard of at 10");
        us.observe(Some(record("other", "2")), start + seconds(24));
        assert_eq!(us.next(start + seconds(25)), Next::Claim, "the same record again is no sign of life");
    }

    #[test]
    fn a_lease_that_vanishes_does_not_end_its_holders_time() {
        let (mut us, start) = (Election::new("us".into()), clock::monotonic());
        us.observe(Some(record("other", "1")), start);
        us.observe(None, start + seconds(1));
        assert_eq!(us.next(start + seconds(14)), Next::Wait(seconds(1)));
        assert_eq!(us.next(start + seconds(15)), Next::Claim);
    }

    #[test]
    fn a_leader_renews_every_retry_and_makes_a_deleted_lease_anew() {
        let (mut us, start) = leader();
        assert_eq!(us.next(start + seconds(1)), Next::Wait(seconds(1)));
        us.observe(None, start + seconds(2));
        assert_eq!(us.next(start + seconds(2)), Next::Claim);
    }

    #[test]
    fn a_leader_that_could_not_renew_stops_before_another_may_begin() {
        let (us, start) = leader();
        assert_eq!(us.next(start + seconds(9)), Next::Claim);
        assert_eq!((us.next(start + RENEW_DEADLINE), us.leads_until()), (Next::Lost, Some(start + RENEW_DEADLINE)));
        let mut other = Election::new("other".into());
        other.observe(Some(record("us", "1")), start);
        assert!(matches!(other.next(start + RENEW_DEADLINE), Next::Wait(_)));
    }

    #[test]
    fn a_leader_that_sees_another_in_its_place_stops() {
        for holder in ["other", ""] {
            let (mut us, start) = leader();
            us.observe(Some(record(holder, "2")), start + seconds(1));
            assert_eq!(us.next(start + seconds(1)), Next::Lost, "{holder:?}");
        }
    }
}

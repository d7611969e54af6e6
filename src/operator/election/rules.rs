//! Rules of leader election with a Lease, as a pure state machine: its inputs are Lease records and times.
//!
//! Other processes' clocks are never trusted: a lease expires one lease duration after *we* last saw its record change,
//! by our own monotonic clock. So a new candidate waits one whole lease duration after its first read. That is also so
//! for a Lease that does not exist: it may have been deleted while its holder leads. The chart creates one without a
//! holder, which is free at once.

use std::time::{Duration, Instant};

/// Time after which a lease that is not renewed expires.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Time after its last renewal at which a leader must have stopped; shorter than [`LEASE_DURATION`].
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Interval at which a leader renews the lease and other candidates read it again.
pub const RETRY: Duration = Duration::from_secs(2);

/// The fields of a Lease that the election rules use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The identity of the leader; `None` if the lease was released or never held.
    pub holder: Option<String>,
    /// `leaseDurationSeconds`: how long the lease is valid after a renewal.
    pub duration: Duration,
    /// `renewTime`, as text: it is only compared for changes, never read as a time.
    pub renewed: Option<String>,
}

/// The next action of a candidate in the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write the lease with our identity, to acquire or renew it.
    Claim,
    /// Read the lease again, at the latest after this time.
    Wait(Duration),
    /// Exit: this process was the leader and lost the lease.
    Lost,
}

/// Election state of one candidate.
#[derive(Debug)]
pub struct Election {
    identity: String,
    observed: Option<(Record, Instant)>,
    /// When the first read found no Lease; `None` if the last read that tells about a holder found one.
    missing: Option<Instant>,
    /// Start (not end) of our last successful write of the lease. Other candidates measure from when they observe that
    /// renewal, which is later.
    claimed: Option<Instant>,
}

impl Election {
    /// A new candidate. `identity` must be unique: a lease held by it counts as acquired by this process before a
    /// restart.
    #[must_use]
    pub fn new(identity: String) -> Self {
        Election { identity, observed: None, missing: None, claimed: None }
    }

    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Records the Lease as just read. `None`, a missing Lease, does not end the holder's term: it may have been
    /// deleted by hand, and the leader recreates it.
    pub fn observe(&mut self, record: Option<Record>, now: Instant) {
        let Some(record) = record else {
            // A free Lease may have been acquired by another process before it was deleted.
            self.observed = self.observed.take().filter(|(known, _)| known.holder.is_some());
            self.missing.get_or_insert(now);
            return;
        };
        self.missing = None;
        if self.observed.as_ref().is_none_or(|(known, _)| *known != record) {
            self.observed = Some((record, now));
        }
    }

    /// Records that our write of the lease, started at `started`, succeeded.
    pub fn claimed(&mut self, record: Record, started: Instant) {
        self.observed = Some((record, started));
        self.claimed = Some(started);
    }

    /// The renew deadline of our term; `None` if this process was never elected.
    #[must_use]
    pub fn leads_until(&self) -> Option<Instant> {
        self.claimed.map(|claimed| claimed + RENEW_DEADLINE)
    }

    /// Decides this candidate's next action.
    #[must_use]
    pub fn next(&self, now: Instant) -> Next {
        let holder = self.observed.as_ref().and_then(|(record, _)| record.holder.as_deref());
        match (self.claimed, &self.observed) {
            (Some(claimed), _) if now >= claimed + RENEW_DEADLINE || holder != Some(self.identity.as_str()) => {
                Next::Lost
            }
            (Some(claimed), _) if now < claimed + RETRY => Next::Wait(claimed + RETRY - now),
            (Some(_), _) => Next::Claim,
            (None, None) => self.missing.map_or(Next::Wait(Duration::ZERO), |at| wait(at, LEASE_DURATION, now)),
            (None, Some(_)) if holder.is_none_or(|holder| holder == self.identity) => Next::Claim,
            (None, Some((record, at))) => wait(*at, record.duration, now),
        }
    }
}

/// Waits until another process's term ends, `duration` after we learned of it at `at`.
fn wait(at: Instant, duration: Duration, now: Instant) -> Next {
    match at.checked_add(duration).map(|end| end.saturating_duration_since(now)) {
        Some(Duration::ZERO) => Next::Claim,
        Some(left) => Next::Wait(left.min(RETRY)),
        // The Lease has a duration of ages, which its holder has to give up.
        None => Next::Wait(RETRY),
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

    /// A leader and the time at which its write of the lease started.
    fn leader() -> (Election, Instant) {
        let (mut us, now) = (Election::new("us".into()), clock::monotonic());
        us.claimed(record("us", "1"), now);
        (us, now)
    }

    #[test]
    fn a_free_lease_is_acquired_at_once() {
        let now = clock::monotonic();
        for (case, found) in [
            ("a released lease", Some(record("", "1"))),
            ("our own lease from before a restart", Some(record("us", "1"))),
        ] {
            let mut us = Election::new("us".into());
            us.observe(found, now);
            assert_eq!(us.next(now), Next::Claim, "{case}");
        }
    }

    #[test]
    fn a_lease_that_is_not_renewed_expires_after_its_duration_by_our_clock() {
        let (mut us, start) = (Election::new("us".into()), clock::monotonic());
        us.observe(Some(record("other", "1")), start);
        assert_eq!(us.next(start), Next::Wait(RETRY));
        us.observe(Some(record("other", "2")), start + seconds(10));
        assert_eq!(us.next(start + seconds(24)), Next::Wait(seconds(1)), "it was renewed at 10");
        us.observe(Some(record("other", "2")), start + seconds(24));
        assert_eq!(us.next(start + seconds(25)), Next::Claim, "the same record again is not a renewal");
    }

    #[test]
    fn a_missing_lease_is_acquired_once_a_holder_that_lost_it_must_have_stopped() {
        let (mut us, start) = (Election::new("us".into()), clock::monotonic());
        us.observe(None, start);
        us.observe(None, start + seconds(14));
        assert_eq!(us.next(start + seconds(14)), Next::Wait(seconds(1)));
        assert_eq!(us.next(start + LEASE_DURATION), Next::Claim);
        us.observe(Some(record("other", "1")), start + LEASE_DURATION);
        assert_eq!(us.next(start + LEASE_DURATION), Next::Wait(RETRY), "its holder has created it again");

        let mut us = Election::new("us".into());
        us.observe(Some(record("", "1")), start);
        us.observe(None, start + seconds(1));
        assert_eq!(us.next(start + seconds(1)), Next::Wait(RETRY), "another may have acquired the free lease before");
        assert_eq!(us.next(start + seconds(16)), Next::Claim);
    }

    #[test]
    fn a_deleted_lease_does_not_end_its_holders_term() {
        let (mut us, start) = (Election::new("us".into()), clock::monotonic());
        us.observe(Some(record("other", "1")), start);
        us.observe(None, start + seconds(1));
        assert_eq!(us.next(start + seconds(14)), Next::Wait(seconds(1)));
        assert_eq!(us.next(start + seconds(15)), Next::Claim);
    }

    #[test]
    fn a_leader_renews_every_retry_interval_and_recreates_a_deleted_lease() {
        let (mut us, start) = leader();
        assert_eq!(us.next(start + seconds(1)), Next::Wait(seconds(1)));
        us.observe(None, start + seconds(2));
        assert_eq!(us.next(start + seconds(2)), Next::Claim);
    }

    #[test]
    fn a_leader_that_cannot_renew_stops_before_the_lease_expires() {
        let (us, start) = leader();
        assert_eq!(us.next(start + seconds(9)), Next::Claim);
        assert_eq!((us.next(start + RENEW_DEADLINE), us.leads_until()), (Next::Lost, Some(start + RENEW_DEADLINE)));
        let mut other = Election::new("other".into());
        other.observe(Some(record("us", "1")), start);
        assert!(matches!(other.next(start + RENEW_DEADLINE), Next::Wait(_)));
    }

    #[test]
    fn a_leader_stops_when_the_lease_has_another_holder() {
        for holder in ["other", ""] {
            let (mut us, start) = leader();
            us.observe(Some(record(holder, "2")), start + seconds(1));
            assert_eq!(us.next(start + seconds(1)), Next::Lost, "{holder:?}");
        }
    }
}

//! Decides about the claim of one journal. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::{claim::JournalClaim, mark::Mark};

/// The times of the claims without webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Time that a claim outlives its webhook.
    pub keep: Duration,
}

impl Terms {
    /// Interval at which the counted time is recorded on the claim. A restart of the operator loses at most this.
    fn record_every(self) -> Duration {
        (self.keep / 12).max(Duration::from_secs(1))
    }

    /// Maximum time that is counted at once. During a longer interval between two sweeps, the operator did not watch.
    fn counted_max(self) -> Duration {
        (self.keep / 6).max(Duration::from_secs(2))
    }

    /// Whether the users of a claim must be read, since it may need a change. `counted`: the time since the mark was
    /// written or found.
    #[must_use]
    pub fn is_due(self, claim: &JournalClaim, has_webhook: bool, counted: Duration) -> bool {
        match claim.mark {
            None => !has_webhook || claim.disowned.is_some(),
            Some(_) if has_webhook => true,
            Some(mark) => counted >= self.record_every() || mark.unused.saturating_add(counted) >= self.keep,
        }
    }

    /// The change that a claim needs.
    #[must_use]
    pub fn decide(self, claim: &JournalClaim, user: Option<User>, counted: Duration, now: Timestamp) -> Option<Action> {
        let counted = counted.min(self.counted_max());
        match (user, claim.mark) {
            (Some(User::Webhook), mark) => (mark.is_some() || claim.disowned.is_some()).then_some(Action::Keep),
            (Some(User::StatefulSet), Some(mark)) if mark.unused.is_zero() => None,
            (Some(User::StatefulSet), Some(mark)) => Some(Action::Mark(Mark { unused: Duration::ZERO, ..mark })),
            (Some(User::StatefulSet) | None, None) => Some(Action::Mark(Mark { since: now, unused: Duration::ZERO })),
            (None, Some(mark)) if mark.unused.saturating_add(counted) >= self.keep => Some(Action::Delete),
            (None, Some(mark)) => {
                (!counted.is_zero()).then(|| Action::Mark(Mark { unused: mark.unused + counted, ..mark }))
            }
        }
    }
}

/// An object that may use the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Webhook,
    /// A StatefulSet without a webhook, as after `kubectl delete --cascade=orphan`. Its pod runs.
    StatefulSet,
}

/// A change of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Removes the mark and the owner reference to the webhook.
    Keep,
    Mark(Mark),
    Delete,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::kubernetes::object_key::ObjectKey;

    const TERMS: Terms = Terms { keep: Duration::from_secs(3600) };

    const fn minutes(number: u64) -> Duration {
        Duration::from_secs(60 * number)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn marked(minute: u64) -> Mark {
        Mark { since: at(1000), unused: minutes(minute) }
    }

    fn claim(mark: Option<Mark>, owned: bool) -> JournalClaim {
        JournalClaim {
            name: "journal-links-receiver-0".into(),
            webhook: ObjectKey::new("marketing", "links"),
            uid: "u".into(),
            resource_version: "7".into(),
            mark,
            disowned: owned.then(Vec::new),
        }
    }

    #[test]
    fn a_claim_is_deleted_after_an_hour_without_users_and_kept_with_a_webhook() {
        let mark = |minute| Some(Action::Mark(marked(minute)));
        let new = Some(Action::Mark(Mark { since: at(9000), unused: Duration::ZERO }));
        let (webhook, set) = (Some(User::Webhook), Some(User::StatefulSet));
        let cases = [
            ("in use", claim(None, false), webhook, 5, None),
            ("its webhook owns it", claim(None, true), webhook, 5, Some(Action::Keep)),
            ("its webhook was recreated", claim(Some(marked(59)), false), webhook, 5, Some(Action::Keep)),
            ("its webhook is gone", claim(None, false), None, 5, new),
            ("its webhook is gone, and owned it", claim(None, true), None, 5, new),
            ("its StatefulSet was orphaned", claim(None, false), set, 5, new),
            ("the StatefulSet stays", claim(Some(marked(0)), false), set, 500, None),
            ("the StatefulSet is back", claim(Some(marked(59)), false), set, 5, mark(0)),
            ("nothing was counted", claim(Some(marked(5)), false), None, 0, None),
            ("five minutes later", claim(Some(marked(5)), false), None, 5, mark(10)),
            ("a minute too early", claim(Some(marked(54)), false), None, 5, mark(59)),
            ("after an hour", claim(Some(marked(55)), false), None, 5, Some(Action::Delete)),
            (
                "after an hour that another process counted",
                claim(Some(marked(60)), false),
                None,
                0,
                Some(Action::Delete),
            ),
            ("the operator did not watch for a day", claim(Some(marked(5)), false), None, 24 * 60, mark(15)),
        ];
        for (case, claim, user, counted, expected) in cases {
            assert_eq!(TERMS.decide(&claim, user, minutes(counted), at(9000)), expected, "{case}");
            let has_webhook = user == Some(User::Webhook);
            let is_due = TERMS.is_due(&claim, has_webhook, minutes(counted));
            assert!(is_due || expected.is_none(), "{case}: the change is never made");
        }
    }

    /// Neither a wall clock that is set nor any number of restarts shortens the hour.
    #[test]
    fn the_hour_is_counted_and_no_wall_clock_shortens_it() {
        for (restart_every, clock) in [(1_u64, i64::MAX), (2, 0), (7, 4_000_000_000), (1000, -1_000_000_000)] {
            let now = Timestamp::from_second(clock).unwrap_or(Timestamp::MAX);
            let (mut mark, mut counted, mut watched) = (marked(0), Duration::ZERO, Duration::ZERO);
            for sweep in 1.. {
                (counted, watched) = (counted + minutes(1), watched + minutes(1));
                if sweep % restart_every == 0 {
                    counted = Duration::ZERO;
                }
                if !TERMS.is_due(&claim(Some(mark), false), false, counted) {
                    if sweep > 10_000 {
                        // A process that restarts within each interval never deletes.
                        assert!(restart_every < 5);
                        break;
                    }
                    continue;
                }
                match TERMS.decide(&claim(Some(mark), false), None, counted, now) {
                    Some(Action::Mark(next)) => mark = next,
                    Some(Action::Delete) => {
                        assert!(watched >= TERMS.keep, "deleted after {watched:?}");
                        assert!(restart_every < 10 || watched <= minutes(61), "deleted after {watched:?}");
                        break;
                    }
                    Some(Action::Keep) | None => panic!("not a step of the way"),
                }
                counted = Duration::ZERO;
            }
        }
    }
}

//! Priority queue for calls to Linktree: the requests that wait for one token's budget, ordered by priority and fair
//! between namespaces. Pure.
//!
//! A throttled caller gets a time to retry at, and keeps its place in the queue if it retries then; there are no
//! callbacks.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::limiter::{Budget, Use};
use crate::operator::kubernetes::object_key::ObjectKey;

/// Bounds of the retry delay. A throttled caller retries after a quarter of its expected wait, within these bounds,
/// since the queue may shrink earlier.
const RETRY_BOUNDS: [SignedDuration; 2] = [SignedDuration::from_secs(60), SignedDuration::from_secs(300)];
/// Retry delay if the request should have been granted already.
const RETRY_FLOOR: SignedDuration = SignedDuration::from_millis(500);
/// How long after `retry_at` a caller that did not retry keeps its place in the queue.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// Time after which the right to make a call expires if it was not used.
const GRANT_TTL: SignedDuration = SignedDuration::from_secs(60);
/// Wait after which an update, deletion or list is promoted to [`Priority::Page`], so that none starves.
const STARVATION_LIMIT: SignedDuration = SignedDuration::from_mins(30);

/// Priority of a request by its purpose, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Re-enables a disabled subscription: meanwhile events are lost.
    Reenable,
    /// A further page of a list in progress: without it, the list would have to start again from its first page.
    Page,
    Create,
    Update,
    Delete,
    List,
    /// A creation that Linktree has rejected before: it must not delay requests that may succeed.
    CreateAgain,
}

impl Priority {
    pub const ALL: [Priority; 7] = [
        Priority::Reenable,
        Priority::Page,
        Priority::Create,
        Priority::Update,
        Priority::Delete,
        Priority::List,
        Priority::CreateAgain,
    ];

    /// The priority's label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Reenable => "reenable",
            Priority::Page => "page",
            Priority::Create => "create",
            Priority::Update => "update",
            Priority::Delete => "delete",
            Priority::List => "list",
            Priority::CreateAgain => "create_again",
        }
    }

    fn budget_use(self) -> Use {
        match self {
            Priority::Reenable => Use::Urgent,
            Priority::Create | Priority::CreateAgain | Priority::Update | Priority::Delete => Use::Ordinary,
            Priority::Page | Priority::List => Use::List,
        }
    }

    /// When a request that has waited since `since` is promoted; `None` if this priority is never promoted.
    fn starves_at(self, since: Timestamp) -> Option<Timestamp> {
        match self {
            Priority::Update | Priority::Delete | Priority::List => since.checked_add(STARVATION_LIMIT).ok(),
            Priority::Reenable | Priority::Page | Priority::Create | Priority::CreateAgain => None,
        }
    }

    /// The effective priority of a request that has waited since `since`: [`Priority::Page`] once it is promoted.
    fn rank(self, since: Timestamp, now: Timestamp) -> Priority {
        if self.starves_at(since).is_some_and(|until| until <= now) { Priority::Page } else { self }
    }
}

/// A request that waits for a grant.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Timestamp,
    /// Sequence number, in order of arrival.
    number: u64,
    /// The estimated time of the grant, as last returned to the caller.
    expected: Timestamp,
    retry_at: Timestamp,
}

/// The request was not granted; the caller must retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// Estimated time of the grant. Stays the same between retries unless the estimate moves by much.
    pub expected: Timestamp,
    /// When to retry. A caller that retries more than `GRACE` later loses its place in the queue.
    pub retry_at: Timestamp,
}

/// Priority queue of requests that wait for one token's budget, by priority and caller.
#[derive(Debug)]
pub struct RequestQueue {
    budget: Budget,
    waiting: BTreeMap<(Priority, ObjectKey), Waiting>,
    /// Grants that are not used yet: when each was granted, and how long its request had waited.
    granted: BTreeMap<(Priority, ObjectKey), (Timestamp, SignedDuration)>,
    /// Per namespace, the sequence number of its last grant.
    last_grant: HashMap<String, u64>,
    sequence: u64,
}

impl RequestQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        RequestQueue {
            budget,
            waiting: BTreeMap::new(),
            granted: BTreeMap::new(),
            last_grant: HashMap::new(),
            sequence: 0,
        }
    }

    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub fn budget_mut(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// Requests a grant to send one request. It stays valid until [`begin`](RequestQueue::begin) uses it or it expires.
    ///
    /// # Errors
    /// [`Throttled`] with the time to retry at.
    pub fn acquire(&mut self, priority: Priority, caller: &ObjectKey, now: Timestamp) -> Result<(), Throttled> {
        self.expire(now);
        let key = (priority, caller.clone());
        if self.granted.contains_key(&key) {
            return Ok(());
        }
        let known = self.waiting.get(&key).copied();
        let own = known.unwrap_or(Waiting { since: now, number: self.sequence, expected: now, retry_at: now });
        let ahead = self.ahead(&key, &own, now);
        if self.budget.allows(priority.budget_use(), ahead, now) {
            self.waiting.remove(&key);
            self.sequence += 1;
            self.last_grant.insert(caller.namespace.clone(), self.sequence);
            self.granted.insert(key, (now, now.duration_since(own.since)));
            self.budget.begin(priority.budget_use());
            return Ok(());
        }
        self.sequence += u64::from(known.is_none());
        let expected = self.budget.expected(priority.budget_use(), ahead, now);
        let starves_at = priority.starves_at(own.since).filter(|until| *until > now);
        let expected = starves_at.map_or(expected, |until| expected.min(until));
        let pause = (expected.duration_since(now) / 4).clamp(RETRY_BOUNDS[0], RETRY_BOUNDS[1]);
        let at = |pause| now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let retry_at = if expected > now { expected.min(at(pause)) } else { at(RETRY_FLOOR) };
        let expected = stable_estimate(own.expected, expected, now);
        self.waiting.insert(key, Waiting { expected, retry_at, ..own });
        Err(Throttled { expected, retry_at })
    }

    /// Uses a grant. Returns how long its request had waited; `None` if the grant has expired.
    pub fn begin(&mut self, priority: Priority, caller: &ObjectKey) -> Option<SignedDuration> {
        self.granted.remove(&(priority, caller.clone())).map(|(_, waited)| waited)
    }

    /// Counts a request that [`begin`](RequestQueue::begin) started as answered.
    pub fn end(&mut self, priority: Priority, now: Timestamp) {
        self.budget.end(priority.budget_use(), now);
    }

    /// Number of waiting requests with this priority.
    #[must_use]
    pub fn waiting(&self, priority: Priority) -> usize {
        self.waiting.keys().filter(|(waiting, _)| *waiting == priority).count()
    }

    /// Number of waiting requests that go before this one: all of a higher rank, and those of the same rank that come
    /// earlier in their own namespace than this one in its. At equal positions, the namespace with the oldest grant
    /// goes first.
    fn ahead(&self, key: &(Priority, ObjectKey), own: &Waiting, now: Timestamp) -> usize {
        let rank = key.0.rank(own.since, now);
        let mut higher = 0;
        let mut before = 0;
        let mut others: HashMap<&str, usize> = HashMap::new();
        for (other, waiting) in self.waiting.iter().filter(|(other, _)| *other != key) {
            match other.0.rank(waiting.since, now).cmp(&rank) {
                std::cmp::Ordering::Less => higher += 1,
                std::cmp::Ordering::Greater => {}
                std::cmp::Ordering::Equal if other.1.namespace == key.1.namespace => {
                    before += usize::from(waiting.number < own.number);
                }
                std::cmp::Ordering::Equal => *others.entry(other.1.namespace.as_str()).or_default() += 1,
            }
        }
        let last_grant = |namespace: &str| self.last_grant.get(namespace).copied();
        let own_grant = (last_grant(&key.1.namespace), key.1.namespace.as_str());
        let interleaved = others.iter().map(|(namespace, count)| {
            let same_place = *count > before && (last_grant(namespace), *namespace) < own_grant;
            before.min(*count) + usize::from(same_place)
        });
        higher + before + interleaved.sum::<usize>()
    }

    fn expire(&mut self, now: Timestamp) {
        self.budget.expire(now);
        self.waiting.retain(|_, waiting| now.duration_since(waiting.retry_at) < GRACE);
        let budget = &mut self.budget;
        self.granted.retain(|(priority, _), (since, _)| {
            let kept = now.duration_since(*since) < GRANT_TTL;
            if !kept {
                budget.end(priority.budget_use(), now);
            }
            kept
        });
        if self.waiting.is_empty() {
            self.last_grant.clear();
        }
    }
}

/// The estimate to return to the caller: the last returned one (`before`), unless the new one differs by much. Callers
/// write it to a status, so each change would cost a write.
fn stable_estimate(before: Timestamp, expected: Timestamp, now: Timestamp) -> Timestamp {
    let moved = expected.duration_since(before).abs();
    let tolerated = (expected.duration_since(now) / 5).max(SignedDuration::from_secs(2));
    if before > now && moved <= tolerated { before } else { expected }
}

#[cfg(test)]
mod tests;

//! Whose turn it is: the requests that wait for one token's budget, by priority and fair between namespaces. Pure.
//!
//! Who asks and is refused is told when to ask again; nobody is called. Its place is kept as long as it comes back then.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::limiter::{Budget, Use};
use crate::operator::kubernetes::object_key::ObjectKey;

/// The queue may become shorter: who is far back asks again after a quarter of the time until its expected, within these.
const RETRY_BOUNDS: [SignedDuration; 2] = [SignedDuration::from_secs(60), SignedDuration::from_secs(300)];
/// Nor sooner than this, where its turn cannot be said.
const RETRY_FLOOR: SignedDuration = SignedDuration::from_millis(500);
/// So long after it was to ask again, its place is kept.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// A turn that was granted is to be used within this.
const GRANT_TTL: SignedDuration = SignedDuration::from_secs(60);
/// Who has waited so long goes before all that is not urgent, so that nothing starves.
const STARVATION_LIMIT: SignedDuration = SignedDuration::from_mins(30);

/// What a request is for, in the order they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Events are being lost.
    Reenable,
    /// A further page of a list that has begun: given up, all of it would begin anew.
    Page,
    Create,
    Update,
    Delete,
    List,
}

impl Priority {
    pub const ALL: [Priority; 6] =
        [Priority::Reenable, Priority::Page, Priority::Create, Priority::Update, Priority::Delete, Priority::List];

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Reenable => "reenable",
            Priority::Page => "page",
            Priority::Create => "create",
            Priority::Update => "update",
            Priority::Delete => "delete",
            Priority::List => "list",
        }
    }

    fn of_budget(self) -> Use {
        match self {
            Priority::Reenable => Use::Urgent,
            Priority::Create | Priority::Update | Priority::Delete => Use::Ordinary,
            Priority::Page | Priority::List => Use::List,
        }
    }

    /// When one that waits `since` then goes before all that is not urgent.
    fn starves_at(self, since: Timestamp) -> Option<Timestamp> {
        match self {
            Priority::Update | Priority::Delete | Priority::List => since.checked_add(STARVATION_LIMIT).ok(),
            Priority::Reenable | Priority::Page | Priority::Create => None,
        }
    }

    /// The place in the order of one that waits `since` then.
    fn rank(self, since: Timestamp, now: Timestamp) -> Priority {
        if self.starves_at(since).is_some_and(|until| until <= now) { Priority::Page } else { self }
    }
}

/// One that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Timestamp,
    /// In order of arrival.
    number: u64,
    /// What it was told.
    expected: Timestamp,
    retry_at: Timestamp,
}

/// It is not its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// About when it will be. Told anew only if it has moved by much.
    pub expected: Timestamp,
    /// When to ask again, or the place is lost.
    pub retry_at: Timestamp,
}

/// A token's budget and those who wait for it.
#[derive(Debug)]
pub struct RequestQueue {
    budget: Budget,
    waiting: BTreeMap<(Priority, ObjectKey), Waiting>,
    /// Granted and not used yet, since when, and how long it had waited.
    granted: BTreeMap<(Priority, ObjectKey), (Timestamp, SignedDuration)>,
    /// When a namespace last had its expected, counted in turns.
    served: HashMap<String, u64>,
    turns: u64,
}

impl RequestQueue {
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        RequestQueue { budget, waiting: BTreeMap::new(), granted: BTreeMap::new(), served: HashMap::new(), turns: 0 }
    }

    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub fn budget_mut(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// Asks for a turn. One that was granted stays so until it is [used](RequestQueue::begin), if that is soon.
    ///
    /// # Errors
    /// [`Throttled`]: when to ask again.
    pub fn acquire(&mut self, priority: Priority, caller: &ObjectKey, now: Timestamp) -> Result<(), Throttled> {
        self.forget(now);
        let key = (priority, caller.clone());
        if self.granted.contains_key(&key) {
            return Ok(());
        }
        let known = self.waiting.get(&key).copied();
        let me = known.unwrap_or(Waiting { since: now, number: self.turns, expected: now, retry_at: now });
        let ahead = self.ahead(&key, &me, now);
        if self.budget.allows(priority.of_budget(), ahead, now) {
            self.waiting.remove(&key);
            self.turns += 1;
            self.served.insert(caller.namespace.clone(), self.turns);
            self.granted.insert(key, (now, now.duration_since(me.since)));
            self.budget.begin(priority.of_budget());
            return Ok(());
        }
        self.turns += u64::from(known.is_none());
        let expected = self.budget.expected(priority.of_budget(), ahead, now);
        let starves_at = priority.starves_at(me.since).filter(|until| *until > now);
        let expected = starves_at.map_or(expected, |until| expected.min(until));
        let pause = (expected.duration_since(now) / 4).clamp(RETRY_BOUNDS[0], RETRY_BOUNDS[1]);
        let at = |pause| now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        let retry_at = if expected > now { expected.min(at(pause)) } else { at(RETRY_FLOOR) };
        let expected = stable_estimate(me.expected, expected, now);
        self.waiting.insert(key, Waiting { expected, retry_at, ..me });
        Err(Throttled { expected, retry_at })
    }

    /// Uses a turn that was granted. How long it was waited for.
    pub fn begin(&mut self, priority: Priority, caller: &ObjectKey) -> Option<SignedDuration> {
        self.granted.remove(&(priority, caller.clone())).map(|(_, waited)| waited)
    }

    /// A request that was [begun](RequestQueue::begin) is over.
    pub fn end(&mut self, priority: Priority, now: Timestamp) {
        self.budget.end(priority.of_budget(), now);
    }

    /// How many wait, by priority.
    #[must_use]
    pub fn waiting(&self, of: Priority) -> usize {
        self.waiting.keys().filter(|(priority, _)| *priority == of).count()
    }

    /// How many go before `me`: all of a higher rank, and of the same rank those whose place within their namespace is
    /// before mine within my own. Of equal places, the namespace goes first whose last turn is longest ago.
    fn ahead(&self, key: &(Priority, ObjectKey), me: &Waiting, now: Timestamp) -> usize {
        let rank = key.0.rank(me.since, now);
        let mut higher = 0;
        let mut before = 0;
        let mut others: HashMap<&str, usize> = HashMap::new();
        for (other, waiting) in self.waiting.iter().filter(|(other, _)| *other != key) {
            match other.0.rank(waiting.since, now).cmp(&rank) {
                std::cmp::Ordering::Less => higher += 1,
                std::cmp::Ordering::Greater => {}
                std::cmp::Ordering::Equal if other.1.namespace == key.1.namespace => {
                    before += usize::from(waiting.number < me.number);
                }
                std::cmp::Ordering::Equal => *others.entry(other.1.namespace.as_str()).or_default() += 1,
            }
        }
        let served = |namespace: &str| self.served.get(namespace).copied();
        let mine = (served(&key.1.namespace), key.1.namespace.as_str());
        let interleaved = others.iter().map(|(namespace, count)| {
            let same_place = *count > before && (served(namespace), *namespace) < mine;
            before.min(*count) + usize::from(same_place)
        });
        higher + before + interleaved.sum::<usize>()
    }

    fn forget(&mut self, now: Timestamp) {
        self.budget.forget(now);
        self.waiting.retain(|_, waiting| now.duration_since(waiting.retry_at) < GRACE);
        let budget = &mut self.budget;
        self.granted.retain(|(priority, _), (since, _)| {
            let kept = now.duration_since(*since) < GRANT_TTL;
            if !kept {
                budget.end(priority.of_budget(), now);
            }
            kept
        });
        if self.waiting.is_empty() {
            self.served.clear();
        }
    }
}

/// What one is told that was told `before`: the same again, unless the `turn` has moved by much. It is shown to people, and
/// each change of it is a write.
fn stable_estimate(before: Timestamp, expected: Timestamp, now: Timestamp) -> Timestamp {
    let moved = expected.duration_since(before).abs();
    let tolerated = (expected.duration_since(now) / 5).max(SignedDuration::from_secs(2));
    if before > now && moved <= tolerated { before } else { expected }
}

#[cfg(test)]
mod tests;

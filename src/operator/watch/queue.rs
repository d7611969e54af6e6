//! The webhooks that wait to be looked at: now, one after the other, or when their time has come. What kube's controller does,
//! for who is known by name alone: it keeps an object of each, several copies of its name, and spends more on each turn than
//! a glance does.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::{
    sync::CancellationToken,
    time::{DelayQueue, delay_queue},
};

use crate::{clock, operator::kubernetes::object_key::Key};

/// Those whose time comes within so many milliseconds are looked at together: a process that wakes up for one of ten
/// thousand at a time spends more on that, and on memory it has not touched for a while, than on the look.
const TOGETHER: i64 = 250;
/// Whose time comes sooner than this is in a hurry, since it has something to do, and does not wait for others.
const HURRY: Duration = Duration::from_secs(1);

/// Looks at each webhook that is asked for, at no more than `concurrency` of them at the same time and at none twice at the
/// same time; then again as late as `look` says ([`together`] with others), if it says so, and earlier if it is asked for.
/// Until `shutdown`: what is under way then is ended in its own time.
pub async fn run<L>(
    mut asked: mpsc::Receiver<Arc<Key>>,
    concurrency: usize,
    shutdown: CancellationToken,
    look: impl Fn(Arc<Key>) -> L,
) where
    L: Future<Output = Option<Duration>> + Send + 'static,
{
    let (mut line, mut looks) = (Line::default(), JoinSet::new());
    loop {
        while looks.len() < concurrency
            && let Some(webhook) = line.next()
        {
            let look = look(Arc::clone(&webhook));
            looks.spawn(async move { (webhook, look.await) });
        }
        tokio::select! {
            // Who asks never has to wait for the looks: that would hold up the watches.
            biased;
            () = shutdown.cancelled() => break,
            Some(webhook) = asked.recv() => line.ask(webhook),
            Some(ended) = looks.join_next() => {
                let (webhook, again) = ended.unwrap_or_else(resume);
                line.looked_at(&webhook, again);
            }
            Some(webhook) = line.later.next() => line.ask(webhook.into_inner()),
        }
    }
    while looks.join_next().await.is_some() {}
}

/// A look that has panicked ends all of them, as it would if they were not tasks.
fn resume<T>(error: tokio::task::JoinError) -> T {
    std::panic::resume_unwind(error.into_panic())
}

#[derive(Debug, Default)]
struct Line {
    webhooks: HashMap<Arc<Key>, State>,
    now: VecDeque<Arc<Key>>,
    later: DelayQueue<Arc<Key>>,
}

#[derive(Debug)]
enum State {
    Now,
    Later(delay_queue::Key),
    /// It is looked at, and has been asked for since that began.
    LookedAt {
        again: bool,
    },
}

impl Line {
    /// Puts a webhook at the end of those to be looked at now, unless it is among them.
    fn ask(&mut self, webhook: Arc<Key>) {
        match self.webhooks.get_mut(&webhook) {
            Some(State::Now) => return,
            Some(State::LookedAt { again }) => {
                *again = true;
                return;
            }
            Some(state) => {
                if let State::Later(place) = std::mem::replace(state, State::Now) {
                    // It is not there any more where its time has come.
                    self.later.try_remove(&place);
                }
            }
            None => drop(self.webhooks.insert(Arc::clone(&webhook), State::Now)),
        }
        self.now.push_back(webhook);
    }

    /// The next to be looked at now.
    fn next(&mut self) -> Option<Arc<Key>> {
        let webhook = self.now.pop_front()?;
        self.webhooks.insert(Arc::clone(&webhook), State::LookedAt { again: false });
        Some(webhook)
    }

    /// A look has ended.
    fn looked_at(&mut self, webhook: &Arc<Key>, again: Option<Duration>) {
        let asked = matches!(self.webhooks.get(webhook), Some(State::LookedAt { again: true }));
        let state = match again {
            _ if asked => {
                self.now.push_back(Arc::clone(webhook));
                State::Now
            }
            Some(after) => State::Later(self.later.insert(Arc::clone(webhook), together(after, clock::now()))),
            None => {
                self.webhooks.remove(webhook);
                return;
            }
        };
        self.webhooks.insert(Arc::clone(webhook), state);
    }
}

/// As late as that, or a little later: at the next of the moments at which everybody is looked at whose time has come.
fn together(after: Duration, now: Timestamp) -> Duration {
    if after < HURRY {
        return after;
    }
    let moments = TimestampRound::new().smallest(Unit::Millisecond).increment(TOGETHER).mode(RoundMode::Ceil);
    let due = now.checked_add(after).and_then(|due| due.round(moments));
    // No moment is so late that it could not be told.
    due.map_or(after, |due| due.duration_since(now).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::{sync::oneshot, time::advance};

    use super::*;

    fn webhook(name: &str) -> Arc<Key> {
        Arc::new(("marketing".to_owned(), name.to_owned()))
    }

    #[test]
    fn who_is_due_soon_after_each_other_is_looked_at_together() {
        let cases = [(0, 15_000, 15_000), (1, 15_000, 15_249), (249, 15_000, 15_001), (100, 1150, 1150), (1, 999, 999)];
        for (now, after, waits) in cases {
            let now = Timestamp::from_millisecond(1_796_000_000_000 + now).unwrap();
            let [after, waits] = [after, waits].map(Duration::from_millis);
            assert_eq!(together(after, now), waits, "{now} {after:?}");
        }
        assert_eq!(together(Duration::MAX, Timestamp::UNIX_EPOCH), Duration::MAX);
    }

    fn names(line: &mut Line) -> Vec<String> {
        std::iter::from_fn(|| line.next()).map(|webhook| webhook.1.clone()).collect()
    }

    #[tokio::test]
    async fn who_is_asked_for_is_looked_at_once_in_turn() {
        let mut line = Line::default();
        for name in ["a", "b", "a"] {
            line.ask(webhook(name));
        }
        assert_eq!(names(&mut line), ["a", "b"]);
        for name in ["b", "b"] {
            line.ask(webhook(name));
        }
        assert_eq!(names(&mut line), [""; 0], "both are looked at");
        line.looked_at(&webhook("a"), None);
        line.looked_at(&webhook("b"), Some(Duration::from_secs(15)));
        assert_eq!(names(&mut line), ["b"], "it was asked for while it was looked at");
        line.looked_at(&webhook("b"), None);
        assert!(line.webhooks.is_empty() && line.later.is_empty(), "nothing is kept of who does not come again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_again_later_comes_at_once_if_it_is_asked_for() {
        let mut line = Line::default();
        line.ask(webhook("a"));
        assert_eq!(names(&mut line), ["a"]);
        line.looked_at(&webhook("a"), Some(Duration::from_secs(15)));
        assert_eq!(names(&mut line), [""; 0]);
        line.ask(webhook("a"));
        assert_eq!(names(&mut line), ["a"]);
        assert!(line.later.is_empty(), "it does not come twice");
        line.looked_at(&webhook("a"), Some(Duration::from_secs(15)));
        let due = line.later.next().await.unwrap().into_inner();
        line.ask(due);
        assert_eq!(names(&mut line), ["a"]);
    }

    /// What was looked at, and what ends each look.
    type Looks = Arc<Mutex<Vec<(String, oneshot::Sender<Option<Duration>>)>>>;

    fn running(looks: &Looks) -> (mpsc::Sender<Arc<Key>>, CancellationToken, tokio::task::JoinHandle<()>) {
        let ((ask, asked), shutdown, looks) = (mpsc::channel(8), CancellationToken::new(), Arc::clone(looks));
        let look = move |webhook: Arc<Key>| {
            let (end, ended) = oneshot::channel();
            looks.lock().unwrap().push((webhook.1.clone(), end));
            async { ended.await.unwrap() }
        };
        let line = tokio::spawn(run(asked, 2, shutdown.clone(), look));
        (ask, shutdown, line)
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn taken(looks: &Looks) -> Vec<String> {
        looks.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn end(looks: &Looks, again: Option<Duration>) {
        looks.lock().unwrap().remove(0).1.send(again).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_looked_at_at_the_same_time_and_no_more() {
        let looks = Looks::default();
        let (ask, shutdown, line) = running(&looks);
        for name in ["a", "b", "c"] {
            ask.send(webhook(name)).await.unwrap();
        }
        settle().await;
        assert_eq!(taken(&looks), ["a", "b"]);
        end(&looks, Some(Duration::from_secs(15)));
        settle().await;
        assert_eq!(taken(&looks), ["b", "c"]);
        end(&looks, None);
        advance(Duration::from_secs(16)).await;
        settle().await;
        assert_eq!(taken(&looks), ["c", "a"], "its time has come");
        shutdown.cancel();
        settle().await;
        assert!(!line.is_finished(), "both are still looked at");
        end(&looks, None);
        end(&looks, Some(Duration::ZERO));
        line.await.unwrap();
        assert_eq!(taken(&looks), [""; 0]);
    }
}

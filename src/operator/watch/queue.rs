//! A delaying work queue of webhook keys, and the loop that reconciles them.
//!
//! kube's controller does the same for whole objects. For each key it stores an object and several copies of the name,
//! and it costs more per reconciliation than polling a settled webhook does.

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

use crate::{clock, operator::kubernetes::object_key::ObjectKey};

/// Requeue delays end at multiples of this, so that the webhooks that are due are reconciled together. Ten thousand
/// separate wake-ups would cost more than the reconciliations, since each finds its memory evicted from the CPU's
/// caches.
const COALESCE_WINDOW_MS: i64 = 250;
/// Requeue delays below this are not rounded: such a webhook has work to do.
const IMMEDIATE_BELOW: Duration = Duration::from_secs(1);

/// Reconciles each enqueued webhook until `shutdown`: at most `concurrency` webhooks at a time, and never the same one
/// twice at a time.
///
/// A webhook is requeued after the delay that `reconcile` returns, [rounded up](coalesce), or earlier if it is enqueued
/// again. At shutdown, the running reconciliations are awaited.
pub async fn run<L>(
    mut requests: mpsc::Receiver<Arc<ObjectKey>>,
    concurrency: usize,
    shutdown: CancellationToken,
    reconcile: impl Fn(Arc<ObjectKey>) -> L,
) where
    L: Future<Output = Option<Duration>> + Send + 'static,
{
    let (mut queue, mut running) = (WorkQueue::default(), JoinSet::new());
    loop {
        while running.len() < concurrency
            && let Some(webhook) = queue.next()
        {
            let reconcile = reconcile(Arc::clone(&webhook));
            running.spawn(async move { (webhook, reconcile.await) });
        }
        tokio::select! {
            // Requests are received before the queue advances: a full channel would block the watches.
            biased;
            () = shutdown.cancelled() => break,
            Some(webhook) = requests.recv() => queue.add(webhook),
            Some(ended) = running.join_next() => {
                let (webhook, again) = ended.unwrap_or_else(resume);
                queue.done(&webhook, again);
            }
            Some(webhook) = queue.delayed.next() => queue.add(webhook.into_inner()),
        }
    }
    while running.join_next().await.is_some() {}
}

/// Continues the panic of a reconciliation's task in this task.
fn resume<T>(error: tokio::task::JoinError) -> T {
    std::panic::resume_unwind(error.into_panic())
}

/// A delaying work queue of webhook keys.
#[derive(Debug, Default)]
struct WorkQueue {
    webhooks: HashMap<Arc<ObjectKey>, State>,
    ready: VecDeque<Arc<ObjectKey>>,
    delayed: DelayQueue<Arc<ObjectKey>>,
}

#[derive(Debug)]
enum State {
    Ready,
    Delayed(delay_queue::Key),
    /// Being reconciled. `dirty`: the webhook was enqueued again since its reconciliation started.
    Running {
        dirty: bool,
    },
}

impl WorkQueue {
    /// Makes a webhook ready to be reconciled, also if it is delayed. If it is running, it becomes ready again
    /// afterwards.
    fn add(&mut self, webhook: Arc<ObjectKey>) {
        match self.webhooks.get_mut(&webhook) {
            Some(State::Ready) => return,
            Some(State::Running { dirty }) => {
                *dirty = true;
                return;
            }
            Some(state) => {
                if let State::Delayed(entry) = std::mem::replace(state, State::Ready) {
                    // The delay queue no longer has the entry if its delay has just ended.
                    self.delayed.try_remove(&entry);
                }
            }
            None => drop(self.webhooks.insert(Arc::clone(&webhook), State::Ready)),
        }
        self.ready.push_back(webhook);
    }

    /// Takes the next ready webhook and marks it as running.
    fn next(&mut self) -> Option<Arc<ObjectKey>> {
        let webhook = self.ready.pop_front()?;
        self.webhooks.insert(Arc::clone(&webhook), State::Running { dirty: false });
        Some(webhook)
    }

    /// Ends a webhook's reconciliation: requeues it after the delay `again`, or at once if it is dirty; drops it if
    /// there is no delay.
    fn done(&mut self, webhook: &Arc<ObjectKey>, again: Option<Duration>) {
        let dirty = matches!(self.webhooks.get(webhook), Some(State::Running { dirty: true }));
        let state = match again {
            _ if dirty => {
                self.ready.push_back(Arc::clone(webhook));
                State::Ready
            }
            Some(after) => State::Delayed(self.delayed.insert(Arc::clone(webhook), coalesce(after, clock::now()))),
            None => {
                self.webhooks.remove(webhook);
                return;
            }
        };
        self.webhooks.insert(Arc::clone(webhook), state);
    }
}

/// Rounds a requeue delay up, so that it ends at a multiple of [`COALESCE_WINDOW_MS`].
fn coalesce(after: Duration, now: Timestamp) -> Duration {
    if after < IMMEDIATE_BELOW {
        return after;
    }
    let moments = TimestampRound::new().smallest(Unit::Millisecond).increment(COALESCE_WINDOW_MS).mode(RoundMode::Ceil);
    let due = now.checked_add(after).and_then(|due| due.round(moments));
    // A delay that ends beyond the range of `Timestamp` is not rounded.
    due.map_or(after, |due| due.duration_since(now).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::{sync::oneshot, time::advance};

    use super::*;

    fn webhook(name: &str) -> Arc<ObjectKey> {
        Arc::new(ObjectKey::new("marketing", name))
    }

    #[test]
    fn delays_that_end_in_one_window_end_together() {
        let cases = [(0, 15_000, 15_000), (1, 15_000, 15_249), (249, 15_000, 15_001), (100, 1150, 1150), (1, 999, 999)];
        for (now, after, waits) in cases {
            let now = Timestamp::from_millisecond(1_796_000_000_000 + now).unwrap();
            let [after, waits] = [after, waits].map(Duration::from_millis);
            assert_eq!(coalesce(after, now), waits, "{now} {after:?}");
        }
        assert_eq!(coalesce(Duration::MAX, Timestamp::UNIX_EPOCH), Duration::MAX);
    }

    fn names(queue: &mut WorkQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.next()).map(|webhook| webhook.name.clone()).collect()
    }

    #[tokio::test]
    async fn requested_webhooks_are_reconciled_once_and_in_order() {
        let mut queue = WorkQueue::default();
        for name in ["a", "b", "a"] {
            queue.add(webhook(name));
        }
        assert_eq!(names(&mut queue), ["a", "b"]);
        for name in ["b", "b"] {
            queue.add(webhook(name));
        }
        assert_eq!(names(&mut queue), [""; 0], "both are being reconciled");
        queue.done(&webhook("a"), None);
        queue.done(&webhook("b"), Some(Duration::from_secs(15)));
        assert_eq!(names(&mut queue), ["b"], "it was requested during its reconciliation");
        queue.done(&webhook("b"), None);
        assert!(
            queue.webhooks.is_empty() && queue.delayed.is_empty(),
            "nothing is kept of a webhook that is not requeued"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_webhook_is_reconciled_at_once_on_request() {
        let mut queue = WorkQueue::default();
        queue.add(webhook("a"));
        assert_eq!(names(&mut queue), ["a"]);
        queue.done(&webhook("a"), Some(Duration::from_secs(15)));
        assert_eq!(names(&mut queue), [""; 0]);
        queue.add(webhook("a"));
        assert_eq!(names(&mut queue), ["a"]);
        assert!(queue.delayed.is_empty(), "it is not queued twice");
        queue.done(&webhook("a"), Some(Duration::from_secs(15)));
        let due = queue.delayed.next().await.unwrap().into_inner();
        queue.add(due);
        assert_eq!(names(&mut queue), ["a"]);
    }

    /// The reconciliations in progress, and what ends each.
    type Runs = Arc<Mutex<Vec<(String, oneshot::Sender<Option<Duration>>)>>>;

    fn start(runs: &Runs) -> (mpsc::Sender<Arc<ObjectKey>>, CancellationToken, tokio::task::JoinHandle<()>) {
        let ((send, requests), shutdown, runs) = (mpsc::channel(8), CancellationToken::new(), Arc::clone(runs));
        let reconcile = move |webhook: Arc<ObjectKey>| {
            let (end, ended) = oneshot::channel();
            runs.lock().unwrap().push((webhook.name.clone(), end));
            async { ended.await.unwrap() }
        };
        let queue = tokio::spawn(run(requests, 2, shutdown.clone(), reconcile));
        (send, shutdown, queue)
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn taken(runs: &Runs) -> Vec<String> {
        runs.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn end(runs: &Runs, again: Option<Duration>) {
        runs.lock().unwrap().remove(0).1.send(again).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn concurrency_is_bounded() {
        let runs = Runs::default();
        let (send, shutdown, queue) = start(&runs);
        for name in ["a", "b", "c"] {
            send.send(webhook(name)).await.unwrap();
        }
        settle().await;
        assert_eq!(taken(&runs), ["a", "b"]);
        end(&runs, Some(Duration::from_secs(15)));
        settle().await;
        assert_eq!(taken(&runs), ["b", "c"]);
        end(&runs, None);
        advance(Duration::from_secs(16)).await;
        settle().await;
        assert_eq!(taken(&runs), ["c", "a"], "its delay has ended");
        shutdown.cancel();
        settle().await;
        assert!(!queue.is_finished(), "both are still being reconciled");
        end(&runs, None);
        end(&runs, Some(Duration::ZERO));
        queue.await.unwrap();
        assert_eq!(taken(&runs), [""; 0]);
    }
}

//! The queue of the writer. Deliveries and settlements wait apart, and each has a share of every commit: while the intake
//! is overloaded, the events that were stored are still forwarded and settled. Both are bounded.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::commit_size;
use crate::{
    clock,
    receiver::{
        ingest::event::Event,
        journal::{Appended, JournalError, QUEUE_CAPACITY, Settings, Settlement, redrive::Redrive},
    },
};

/// Maximum number of queued settlements and changes of the settings. A sink mostly has one at a time.
const SETTLEMENTS_CAPACITY: usize = 256;

/// A write, and the channel for its answer. Only [`Work::Append`] is answered with an [`Appended`].
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) type Answer = Result<Option<Appended>, JournalError>;

pub(super) enum Work {
    Append(Event),
    Settle { sink: String, settlements: Vec<Settlement> },
    Configure(Settings),
    Redrive(Redrive),
}

impl Work {
    /// How many bytes an event needs.
    pub(super) fn bytes(&self) -> i128 {
        match self {
            Work::Append(event) => commit_size::append_bytes(event.body.len()),
            Work::Settle { .. } | Work::Configure(_) | Work::Redrive(_) => 0,
        }
    }

    /// How many pages it writes at most, without index pages of an append.
    fn pages(&self) -> u32 {
        match self {
            Work::Append(event) => commit_size::append_pages(event.body.len()),
            Work::Settle { settlements, .. } => commit_size::settle_pages(settlements.len()),
            Work::Redrive(redrive) => commit_size::settle_pages(redrive.parts.len()),
            Work::Configure(_) => 1,
        }
    }
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) requests: usize,
    pub(super) pages: u32,
}

/// The requests of one commit, and how many pages they write at most.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) requests: Vec<Request>,
    pub(super) pages: u32,
}

/// The end of the queue for requests. When it is dropped, the writer ends.
pub(super) struct Requests(Arc<Queue>);

/// The writer's end of the queue.
pub(super) struct Waiting(Arc<Queue>);

/// The result of [`Waiting::wait`].
#[derive(Debug)]
pub(super) enum Found {
    Requests,
    Nothing,
    /// All requests are taken, and no further ones come; to answer once the journal is closed, if that was requested.
    End(Option<oneshot::Sender<Answer>>),
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    appends: VecDeque<Request>,
    settlements: VecDeque<Request>,
    stage: Stage,
    /// Whether the writer waits, so that a request must wake it.
    idle: bool,
    /// Whether appends are the first in the next batch.
    appends_first: bool,
}

#[derive(Default)]
enum Stage {
    #[default]
    Open,
    /// No request is accepted; the writer completes those that wait.
    Closing(Option<oneshot::Sender<Answer>>),
    Closed,
}

pub(super) fn queue() -> (Requests, Waiting) {
    let queue = Arc::<Queue>::default();
    (Requests(Arc::clone(&queue)), Waiting(queue))
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the writer after a change of `state`.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.filled.notify_one();
        }
    }
}

impl Requests {
    /// Queues a request; fails at once if the queue is full.
    pub(super) fn push(&self, request: Request) -> Result<(), JournalError> {
        let mut state = self.0.state();
        if !matches!(state.stage, Stage::Open) {
            return Err(JournalError::Closed);
        }
        let (queue, capacity) = match request.work {
            Work::Append(_) => (&mut state.appends, QUEUE_CAPACITY),
            Work::Settle { .. } | Work::Configure(_) | Work::Redrive(_) => {
                (&mut state.settlements, SETTLEMENTS_CAPACITY)
            }
        };
        if queue.len() >= capacity {
            return Err(JournalError::Overloaded);
        }
        queue.push_back(request);
        self.0.wake(state);
        Ok(())
    }

    /// Ends the writer after earlier requests are written.
    pub(super) fn close(&self, answer: oneshot::Sender<Answer>) -> Result<(), JournalError> {
        let mut state = self.0.state();
        if !matches!(state.stage, Stage::Open) {
            return Err(JournalError::Closed);
        }
        state.stage = Stage::Closing(Some(answer));
        self.0.wake(state);
        Ok(())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(state.stage, Stage::Open) {
            state.stage = Stage::Closing(None);
        }
        self.0.wake(state);
    }
}

impl Waiting {
    /// Waits for requests, at most for `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> Found {
        let until = clock::monotonic() + timeout;
        let mut state = self.0.state();
        loop {
            if !state.appends.is_empty() || !state.settlements.is_empty() {
                return Found::Requests;
            }
            match &mut state.stage {
                Stage::Open => {}
                Stage::Closing(answer) => return Found::End(answer.take()),
                Stage::Closed => return Found::End(None),
            }
            let left = until.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return Found::Nothing;
            }
            state.idle = true;
            state = self.0.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.idle = false;
        }
    }

    /// Takes the requests of the next commit, at least one if any waits. If both kinds wait, the first has half of the
    /// commit, and they take turns at being the first.
    pub(super) fn take(&self, limits: Limits) -> Batch {
        let mut state = self.0.state();
        let State { appends, settlements, appends_first, .. } = &mut *state;
        let (first, second) = if *appends_first { (appends, settlements) } else { (settlements, appends) };
        *appends_first = !*appends_first;
        let mut batch = Batch::default();
        batch.fill(first, Limits { requests: limits.requests.div_ceil(2), pages: limits.pages / 2 });
        batch.fill(second, limits);
        batch.fill(first, limits);
        batch
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.stage = Stage::Closed;
        // The callers find the channels of their answers closed.
        let left = (std::mem::take(&mut state.appends), std::mem::take(&mut state.settlements));
        drop(state);
        drop(left);
    }
}

impl Batch {
    fn fill(&mut self, queue: &mut VecDeque<Request>, limits: Limits) {
        while let Some(next) = queue.front() {
            let pages = self.pages.saturating_add(next.work.pages());
            let fits = self.requests.len() < limits.requests && pages <= limits.pages;
            if !fits && !self.requests.is_empty() {
                return;
            }
            self.pages = pages;
            self.requests.extend(queue.pop_front());
        }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

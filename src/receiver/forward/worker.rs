//! Brings events to one sink, one at a time and in order. An event that fails steps aside until it is due again; those
//! behind it go on.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::Forwarder;
use crate::{
    clock,
    receiver::{
        journal::{JournalError, Outcome, Pending, Position, Settlement},
        retry,
        sink::http,
    },
    route::{Sink, WebhookName},
};

/// How many events are taken from the journal at once.
const BATCH: usize = 16;
/// What became of events is recorded at the latest this long after the first of them, so that a crash repeats little.
const RECORD_AFTER: Duration = Duration::from_millis(200);
/// How long to wait after the journal refused, and at most between two looks into it.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    sink: String,
    forwarder: Forwarder,
    appended: watch::Receiver<Position>,
    stop: CancellationToken,
}

impl Worker {
    pub(super) fn new(sink: String, forwarder: Forwarder, stop: CancellationToken) -> Self {
        let appended = forwarder.journal.appended();
        Worker { sink, forwarder, appended, stop }
    }

    /// Works until it is stopped.
    pub(super) async fn run(mut self) {
        while !self.stop.is_cancelled() {
            self.appended.mark_unchanged();
            let due = self.forwarder.journal.due(&self.sink, now(), BATCH).await;
            match due {
                Ok(due) if due.events.is_empty() => self.idle(due.next).await,
                Ok(due) => self.work_through(due.events).await,
                Err(error) => {
                    tracing::error!(sink = self.sink, %error, "cannot read what is due");
                    self.stop.run_until_cancelled(sleep(JOURNAL_RETRY)).await;
                }
            }
        }
    }

    /// Waits until there is something new, or something is due again.
    async fn idle(&mut self, next: Option<i64>) {
        let until = next.map(|next| Duration::from_millis(u64::try_from(next - now()).unwrap_or(0)));
        tokio::select! {
            Ok(()) = self.appended.changed() => {}
            () = sleep(until.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn work_through(&self, events: Vec<Pending>) {
        let started = clock::monotonic();
        let mut settlements = Vec::with_capacity(events.len());
        for event in events {
            // Stopped in the middle of an attempt, it is as if that had not been made: the event comes again.
            let Some(Some(outcome)) = self.stop.run_until_cancelled(self.attempt(&event)).await else { break };
            settlements.push(Settlement { position: event.position, outcome });
            if started.elapsed() > RECORD_AFTER {
                break;
            }
        }
        if !settlements.is_empty() {
            self.record(settlements).await;
        }
    }

    /// One attempt with the sink as the route has it now; `None` if the route has it no more.
    async fn attempt(&self, event: &Pending) -> Option<Outcome> {
        let (webhook, sink) = self.sink()?;
        if !sink.wants(&event.event_type) {
            return Some(Outcome::Done);
        }
        let result = http::deliver(&self.forwarder.client, &webhook, &sink, event).await;
        let ledger = &self.forwarder.ledger;
        let Err(failure) = result else {
            ledger.forwarded(&self.sink, clock::now().as_second());
            return Some(Outcome::Done);
        };
        let outcome = retry::after(&failure, &sink.retry, event.attempts.saturating_add(1), rand::random(), now());
        ledger.failed(&self.sink, &failure.to_string());
        match &outcome {
            Outcome::DeadLetter { .. } => {
                ledger.dead_lettered(&self.sink, clock::now().as_second(), clock::monotonic());
            }
            Outcome::Retry { attempts, .. } => {
                tracing::debug!(sink = self.sink, event = ?event.id, %failure, attempts, "an attempt failed");
            }
            Outcome::Done => {}
        }
        Some(outcome)
    }

    /// Records what became of events. While the journal refuses, nothing more is sent: it would be sent again.
    async fn record(&self, settlements: Vec<Settlement>) {
        loop {
            match self.forwarder.journal.settle(&self.sink, settlements.clone()).await {
                Ok(()) | Err(JournalError::Closed) => return,
                Err(error) if self.stop.is_cancelled() => {
                    tracing::warn!(sink = self.sink, %error, "some events will be sent again after the restart");
                    return;
                }
                Err(error) => {
                    tracing::warn!(sink = self.sink, %error, "cannot record what was sent");
                    self.stop.run_until_cancelled(sleep(JOURNAL_RETRY)).await;
                }
            }
        }
    }

    fn sink(&self) -> Option<(WebhookName, Sink)> {
        let config = self.forwarder.config.borrow().clone()?;
        let sink = config.route.sinks.iter().find(|sink| sink.name == self.sink)?;
        Some((config.route.webhook.clone(), sink.clone()))
    }
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    clock::now().as_millisecond()
}

//! Delivers events to one sink, several at a time. A failed event waits for its retry while later events are delivered,
//! except those that the ordering blocks. A circuit breaker pauses a sink that fails repeatedly.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    batch::Batch,
    breaker::{Breaker, Permit},
    context::Context,
    ordering::ResourceOrder,
    retry,
};
use crate::{
    clock, jitter,
    receiver::{
        journal::{JournalError, Outcome, Pending, Position, Settlement},
        sink::{
            cloudevent,
            destination::Destination,
            failure::Failure,
            http::{self, Clients},
        },
        stats::counters::DeliveryStats,
    },
    route::Ordering,
};

/// The size of a batch from the journal, and how many of its events are in flight at the same time.
const BATCH: usize = 64;
const IN_FLIGHT: usize = 8;
/// No attempt of a batch starts later than this after the first: then the outcomes are recorded, so that a crash
/// repeats little.
const RECORD_AFTER: Duration = Duration::from_millis(200);
/// How long a shutdown lets attempts in flight finish. With the drain of the delivery port (15 s) it must fit the pod's
/// grace period of 30 s.
const GRACE: Duration = Duration::from_secs(10);
/// The delay after an error of the journal, and the longest time between two polls of it.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    sink: String,
    context: Context,
    appended: watch::Receiver<Position>,
    /// The sink has left the route, or the receiver shuts down.
    stop: CancellationToken,
    /// The receiver shuts down.
    shutdown: CancellationToken,
    breaker: Breaker,
    /// `None` if the sink has no ordering, or before the waiting events are loaded.
    order: Option<ResourceOrder>,
}

impl Worker {
    /// A worker that runs until `shutdown`, or until the token that it returns is cancelled.
    pub(super) fn new(sink: String, context: Context, shutdown: CancellationToken) -> (Self, CancellationToken) {
        let (appended, stop) = (context.journal.appended(), shutdown.child_token());
        let (breaker, order) = (Breaker::new(), None);
        (Worker { sink, context, appended, stop: stop.clone(), shutdown, breaker, order }, stop)
    }

    /// Runs until it is stopped.
    pub(super) async fn run(mut self) {
        while !self.stop.is_cancelled() {
            self.appended.mark_unchanged();
            if let Err(error) = self.step().await {
                if let Some(suppressed) = self.admit_line("cannot read due events") {
                    tracing::error!(sink = self.sink, %error, suppressed, "cannot read due events, retrying");
                }
                self.pause(JOURNAL_RETRY).await;
            }
        }
    }

    /// Delivers a batch of due events, or waits until an event is due.
    async fn step(&mut self) -> Result<(), JournalError> {
        let Some(destination) = self.destination() else {
            self.wait_for_route().await;
            return Ok(());
        };
        let limit = match self.breaker.permit(now()) {
            Permit::All => BATCH,
            Permit::One => 1,
            Permit::NoneUntil(until) => {
                self.pause(duration_until(until)).await;
                return Ok(());
            }
        };
        self.load_order(destination.sink.ordering).await?;
        let due = self.context.journal.due(&self.sink, now(), limit).await?;
        if due.events.is_empty() {
            self.idle(due.next).await;
        } else {
            self.deliver_batch(&destination, due.events).await;
        }
        Ok(())
    }

    /// Waits for a route with the sink's address, or for the end of the worker if the route has the sink no more.
    async fn wait_for_route(&mut self) {
        tokio::select! {
            Ok(()) = self.context.config.changed() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Waits for a new event, or until a retry is due.
    async fn idle(&mut self, next: Option<i64>) {
        let until = next.map_or(POLL_INTERVAL, duration_until);
        tokio::select! {
            Ok(()) = self.appended.changed() => {}
            () = sleep(until.min(POLL_INTERVAL)) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn pause(&self, duration: Duration) {
        self.stop.run_until_cancelled(sleep(duration)).await;
    }

    /// Loads the waiting events if their order matters: retries from before a restart are in the journal.
    async fn load_order(&mut self, ordering: Ordering) -> Result<(), JournalError> {
        match ordering {
            Ordering::None => self.order = None,
            Ordering::ByResource if self.order.is_some() => {}
            Ordering::ByResource => {
                let (mut order, mut after) = (ResourceOrder::default(), Position::MIN);
                loop {
                    let waiting = self.context.journal.waiting(&self.sink, after, BATCH).await?;
                    let Some((last, _)) = waiting.last() else { break };
                    after = last.position;
                    for (event, due_at) in &waiting {
                        if let Some(resource) = cloudevent::resource(&event.body) {
                            let outcome = Outcome::Retry { attempts: event.attempts, due_at: *due_at };
                            order.record(&resource, event.position, &outcome);
                        }
                    }
                }
                self.order = Some(order);
            }
        }
        Ok(())
    }

    async fn deliver_batch(&mut self, destination: &Destination, events: Vec<Pending>) {
        let Worker { sink, context, stop, shutdown, breaker, order, .. } = self;
        let mut batch = Batch::new(events, order.is_some());
        let order = order.get_or_insert_default();
        let mut in_flight = FuturesUnordered::new();
        let started = clock::monotonic();
        let mut end = pin!(end_of_attempts(stop.clone(), shutdown.clone()));
        loop {
            while !stop.is_cancelled()
                && in_flight.len() < IN_FLIGHT
                && started.elapsed() < RECORD_AFTER
                && breaker.open_until().is_none()
                && let Some(event) = batch.next(order, now())
            {
                in_flight.push(attempt(&context.clients, destination, event));
            }
            // A cancelled attempt counts as not made: the event is sent again.
            let finished = tokio::select! {
                finished = in_flight.next() => finished,
                () = end.as_mut() => None,
            };
            let Some((event, result)) = finished else { break };
            let outcome = settle_attempt(destination, &event, result, breaker, &context.stats);
            batch.settle(event.position, outcome, order);
        }
        drop(in_flight);
        context.stats.circuit(sink, breaker.open_until().map(|until| until / 1000));
        let settlements = batch.finish(order, now());
        if destination.sink.ordering == Ordering::None {
            self.order = None;
        }
        if !settlements.is_empty() {
            self.record(settlements).await;
        }
    }

    /// Records outcomes. While the journal fails, no further event is sent: it would be sent twice.
    async fn record(&self, settlements: Vec<Settlement>) {
        loop {
            match self.context.journal.settle(&self.sink, settlements.clone()).await {
                Ok(()) | Err(JournalError::Closed) => return,
                Err(error) if self.stop.is_cancelled() => {
                    tracing::warn!(sink = self.sink, %error, "cannot record outcomes, the events are sent again after the restart");
                    return;
                }
                Err(error) => {
                    if let Some(suppressed) = self.admit_line("cannot record outcomes") {
                        tracing::warn!(sink = self.sink, %error, suppressed, "cannot record outcomes, retrying");
                    }
                    self.pause(JOURNAL_RETRY).await;
                }
            }
        }
    }

    fn admit_line(&self, kind: &'static str) -> Option<u64> {
        self.context.stats.admit_line(kind, clock::monotonic())
    }

    /// The sink in the current route; `None` if forwarding is paused, the route has no address for the sink, or has the
    /// sink no more.
    fn destination(&mut self) -> Option<Arc<Destination>> {
        let config = self.context.config.borrow_and_update().clone().filter(|it| it.route.forwarding.is_on())?;
        config.destinations.iter().find(|destination| destination.sink.name == self.sink).cloned()
    }
}

/// Returns when attempts in flight are cancelled: at once if the sink has left the route, [`GRACE`] after a shutdown.
async fn end_of_attempts(stop: CancellationToken, shutdown: CancellationToken) {
    stop.cancelled().await;
    if shutdown.is_cancelled() {
        sleep(GRACE).await;
    }
}

/// The result of an attempt.
enum Attempt {
    Unwanted,
    Delivered,
    Failed(Failure),
}

async fn attempt(clients: &Clients, destination: &Destination, event: Pending) -> (Pending, Attempt) {
    let attempt = match destination.wants(&event) {
        Ok(false) => Attempt::Unwanted,
        Ok(true) => match http::deliver(clients, destination, &event).await {
            Ok(()) => Attempt::Delivered,
            Err(failure) => Attempt::Failed(failure),
        },
        Err(failure) => Attempt::Failed(failure),
    };
    (event, attempt)
}

/// Counts an attempt and returns the outcome of its event.
fn settle_attempt(
    Destination { sink, .. }: &Destination,
    event: &Pending,
    attempt: Attempt,
    breaker: &mut Breaker,
    stats: &DeliveryStats,
) -> Outcome {
    let failure = match attempt {
        Attempt::Unwanted => return Outcome::Done,
        Attempt::Delivered => {
            breaker.succeeded();
            stats.forwarded(&sink.name, clock::now().as_second());
            return Outcome::Done;
        }
        Attempt::Failed(failure) => failure,
    };
    if failure.is_the_sinks() {
        breaker.failed(now());
    }
    if failure.was_attempted() {
        stats.failed(&sink.name, &event.id, &failure, clock::monotonic());
    } else {
        stats.unfit(&sink.name, &failure.to_string());
    }
    let outcome = retry::after(&failure, &sink.retry, event.attempts.saturating_add(1), jitter::fraction(), now());
    match &outcome {
        Outcome::DeadLetter { .. } => {
            stats.dead_lettered(&sink.name, &event.id, clock::now().as_second(), clock::monotonic());
        }
        Outcome::Retry { attempts, .. } => {
            tracing::debug!(sink = sink.name, event = ?event.id, %failure, attempts, "delivery failed, retrying");
        }
        Outcome::Done => {}
    }
    outcome
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    clock::now().as_millisecond()
}

fn duration_until(millisecond: i64) -> Duration {
    Duration::from_millis(u64::try_from(millisecond.saturating_sub(now())).unwrap_or(0))
}

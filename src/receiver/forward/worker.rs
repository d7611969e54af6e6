//! Delivers events to one sink, several at a time: carries out what the [`Engine`] decides. Attempts go on while the
//! journal reads or records.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{Attempt, attempt},
    budget::LargePermit,
    context::Context,
    engine::{Act, Engine, Policy, Step},
    hold::Hold,
    large::Right,
    operation::{Answer, Operations},
    ordering::ResourceOrder,
    reporter::Reporter,
    window::Moment,
};
use crate::{
    clock, jitter,
    receiver::{
        journal::{JournalError, Pending, position::Arrivals},
        sink::destination::Destination,
    },
    route::{Ordering, Retry},
};

/// How long a shutdown lets attempts in flight finish. With the drain of the delivery port (15 s) it must fit the pod's
/// grace period of 30 s.
const GRACE: Duration = Duration::from_secs(10);
/// The delay after an error of the journal that interrupts the worker.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    context: Context,
    operations: Operations,
    reporter: Reporter,
    appended: watch::Receiver<Arrivals>,
    /// The last seen number of [`Arrivals::requeued`].
    requeued: u64,
    /// The sink has left the route, or the receiver shuts down.
    stop: CancellationToken,
    /// The receiver shuts down.
    shutdown: CancellationToken,
    /// `None` if forwarding is paused, or the route has no address for the sink.
    destination: Option<Arc<Destination>>,
    policy: Policy,
    /// The ordering that the engine follows; `None` before the waiting events are loaded.
    ordering: Option<Ordering>,
    engine: Engine,
    attempts: FuturesUnordered<BoxFuture<'static, (Pending, Attempt)>>,
    /// The operation of the journal in progress.
    operation: Option<BoxFuture<'static, Answer>>,
    /// The right to exceed the sink's share of memory with one event, and the wait for it.
    large: Right<LargePermit>,
    waiting_for_large: Option<BoxFuture<'static, Option<LargePermit>>>,
}

/// The reason why a worker continues.
enum Wake {
    Attempted(Box<(Pending, Attempt)>),
    Answered(Box<Answer>),
    Large(Option<LargePermit>),
    Appended,
    /// Time has passed, the route has changed, or the worker must stop.
    Other,
}

impl Worker {
    /// A worker that runs until `shutdown`, or until the token that it returns is cancelled.
    pub(super) fn new(sink: String, context: Context, shutdown: CancellationToken) -> (Self, CancellationToken) {
        let stop = shutdown.child_token();
        let worker = Worker {
            operations: Operations { sink: sink.clone(), journal: Arc::clone(&context.journal) },
            reporter: Reporter::new(sink, Arc::clone(&context.stats)),
            requeued: context.journal.appended().borrow().requeued,
            appended: context.journal.appended(),
            context,
            stop: stop.clone(),
            shutdown,
            destination: None,
            policy: Policy {
                retry: Retry::default(),
                timeout: Duration::ZERO,
                sending: false,
                attempts: 0,
                share: 0,
                large: None,
            },
            ordering: None,
            engine: Engine::new(None, Hold::new(), clock::monotonic()),
            attempts: FuturesUnordered::new(),
            operation: None,
            large: Right::None,
            waiting_for_large: None,
        };
        (worker, stop)
    }

    /// Runs until it is stopped.
    pub(super) async fn run(mut self) {
        self.context.config.mark_changed();
        while !self.stop.is_cancelled() {
            if self.context.config.has_changed().unwrap_or(false) {
                self.adopt_route().await;
            }
            let idle = loop {
                match self.engine.step(&self.policy, moment()) {
                    Step::Act(act) => self.begin(act),
                    Step::Idle(idle) => break idle,
                }
            };
            self.request_large();
            self.reporter.held(self.engine.hold(), clock::monotonic());
            let wake = self.wait(idle).await;
            self.handle(wake);
        }
        self.end().await;
    }

    /// Waits until there is something to do, at most for `idle`.
    async fn wait(&mut self, idle: Duration) -> Wake {
        let Worker { attempts, operation, waiting_for_large, appended, context, stop, .. } = self;
        tokio::select! {
            Some(attempted) = attempts.next() => Wake::Attempted(Box::new(attempted)),
            Some(answer) = async { Some(operation.as_mut()?.await) } => Wake::Answered(Box::new(answer)),
            Some(permit) = async { Some(waiting_for_large.as_mut()?.await) } => Wake::Large(permit),
            Ok(()) = appended.changed() => Wake::Appended,
            Ok(()) = context.config.changed() => {
                context.config.mark_changed();
                Wake::Other
            }
            () = sleep(idle) => Wake::Other,
            () = stop.cancelled() => Wake::Other,
        }
    }

    /// Requests the right to exceed the share if the next event does, and gives it back after that event.
    fn request_large(&mut self) {
        let requested = self.large.follow(self.engine.demand(self.policy.share));
        if let Some(large) = requested.filter(|_| self.waiting_for_large.is_none()) {
            let bodies = self.context.bodies.clone();
            self.waiting_for_large = Some(async move { bodies.large(large).await }.boxed());
        }
        self.policy.large = self.large.bytes();
    }

    fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Attempted(attempted) => {
                self.attempted(&attempted);
                while let Some(Some(attempted)) = self.attempts.next().now_or_never() {
                    self.attempted(&attempted);
                }
            }
            Wake::Answered(answer) => {
                self.operation = None;
                if let Some(act) = self.answered(*answer) {
                    self.begin(act);
                }
            }
            Wake::Large(permit) => {
                self.waiting_for_large = None;
                if let Some(permit) = permit {
                    self.large.grant(permit);
                }
                self.policy.large = self.large.bytes();
            }
            Wake::Appended => {
                let Arrivals { last: _, requeued } = *self.appended.borrow_and_update();
                if requeued != self.requeued {
                    self.requeued = requeued;
                    self.engine.requeued();
                }
                self.engine.appended(clock::monotonic());
            }
            Wake::Other => {}
        }
    }

    fn begin(&mut self, act: Act) {
        match (act, &self.destination) {
            (Act::Send(event), Some(destination)) => {
                let (clients, destination) = (self.context.clients.clone(), Arc::clone(destination));
                let attempt = async move {
                    let result = attempt(&clients, &destination, &event).await;
                    (event, result)
                };
                self.attempts.push(attempt.boxed());
            }
            // Not reached: without a destination the policy is not to send.
            (Act::Send(event), None) => tracing::error!(event = ?event.id, "event not sent: the sink has no address"),
            (Act::Journal(operation), _) => self.operation = Some(self.operations.begin(operation)),
        }
    }

    fn attempted(&mut self, (event, result): &(Pending, Attempt)) {
        let outcome = self.engine.attempted(event.position, result, &self.policy, jitter::fraction(), moment());
        if let Some(outcome) = outcome {
            self.reporter.attempted(event, result, &outcome);
        }
    }

    fn answered(&mut self, answer: Answer) -> Option<Act> {
        let now = moment();
        match answer {
            Answer::Recorded(result) => {
                self.engine.recorded(&result, now.instant);
                if let Err(error) = result {
                    self.reporter.unrecorded(&error);
                }
            }
            Answer::Read(lane, query, Ok(due)) => self.engine.read_done(lane, query, due, now),
            Answer::Selected(probe, search, Ok(event)) => {
                let destination = self.destination.as_ref();
                let wanted = |event: &Pending| destination.is_some_and(|it| it.wants(event) != Ok(false));
                let event = event.filter(|_| self.policy.sending).map(|event| {
                    let wanted = wanted(&event);
                    (event, wanted)
                });
                return self.engine.selected(probe, search, event, now);
            }
            Answer::Read(_, _, Err(error)) | Answer::Selected(_, _, Err(error)) => {
                self.engine.unread(now.instant);
                self.reporter.unread(&error);
            }
        }
        None
    }

    /// Takes the sink from the current route. Another ordering begins with the events that wait: attempts in flight are
    /// cancelled, and their events are sent again.
    async fn adopt_route(&mut self) {
        let config = self.context.config.borrow_and_update().clone().filter(|it| it.route.forwarding.is_on());
        let name = self.operations.sink.clone();
        let sinks = config.as_ref().map_or(1, |it| it.route.sinks.len());
        self.destination = config.and_then(|it| it.destinations.iter().find(|it| it.sink.name == name).cloned());
        self.policy.sending = self.destination.is_some();
        let Some(sink) = self.destination.as_ref().map(|it| &it.sink) else { return };
        let ordering = sink.ordering;
        let timeout = Duration::from_secs(sink.timeout_seconds.into());
        let (share, large) = (self.context.bodies.share(sinks), self.large.bytes());
        let attempts = (self.context.attempts / sinks.max(1)).max(1);
        self.policy = Policy { retry: sink.retry, timeout, sending: true, attempts, share, large };
        if self.ordering == Some(ordering) {
            return;
        }
        self.cancel_attempts().await;
        let order = match ordering {
            Ordering::None => Ok(None),
            Ordering::ByResource => ResourceOrder::load(&*self.context.journal, &name).await.map(Some),
        };
        let (order, ordering) = match order {
            Ok(order) => (order, Some(ordering)),
            Err(error) => {
                self.reporter.unread(&error);
                (self.destination, self.policy.sending) = (None, false);
                self.context.config.mark_changed();
                self.stop.run_until_cancelled(sleep(JOURNAL_RETRY)).await;
                (None, None)
            }
        };
        self.engine = Engine::new(order, self.engine.hold().clone(), clock::monotonic());
        self.ordering = ordering;
    }

    /// Ends the worker: after a shutdown, attempts in flight have some time to finish.
    async fn end(mut self) {
        if self.shutdown.is_cancelled() {
            let finish = async {
                while let Some(attempted) = self.attempts.next().await {
                    self.attempted(&attempted);
                }
            };
            // A cancelled attempt counts as not made: the event is sent again.
            let _ = timeout(GRACE, finish).await;
        }
        self.cancel_attempts().await;
    }

    /// Cancels the attempts in flight, and records all outcomes.
    async fn cancel_attempts(&mut self) {
        self.attempts.clear();
        if let Some(operation) = self.operation.take() {
            // A probe that it selects is not sent.
            if let Answer::Recorded(result) = operation.await {
                self.engine.recorded(&result, clock::monotonic());
            }
        }
        self.engine.abandon(moment());
        while let Some(outcomes) = self.engine.last_outcomes(moment()) {
            let result = self.context.journal.settle(&self.operations.sink, outcomes).await;
            self.engine.recorded(&result, clock::monotonic());
            match result {
                Ok(()) | Err(JournalError::Closed) => {}
                Err(error) if self.stop.is_cancelled() => return self.reporter.lost(&error),
                Err(error) => {
                    self.reporter.unrecorded(&error);
                    self.stop.run_until_cancelled(sleep(JOURNAL_RETRY)).await;
                }
            }
        }
    }
}

fn moment() -> Moment {
    Moment { instant: clock::monotonic(), millis: clock::now().as_millisecond() }
}

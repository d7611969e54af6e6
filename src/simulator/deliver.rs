//! Sends deliveries: in a background task when they are due, and one after the other in order of their due times when a
//! test advances the simulated clock. `state` decides which are due, signed and retried.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::header::CONTENT_TYPE};
use futures::future::join_all;
use reqwest::{Certificate, redirect::Policy};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    shared::Shared,
    state::{
        deliveries::Answer,
        rejection::Rejection,
        sender::Due,
        sending::{Plan, Request},
    },
};
use crate::linktree::{client::root_cause, headers, wire::SubscriptionId};

/// How long a receiver may take to respond to a delivery. Assumed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of concurrent attempts; further ones wait.
const CONCURRENCY: usize = 64;
/// The part of a receiver's response body that is kept, in bytes.
const ANSWER_KEPT: usize = 512;
/// Longest sleep while no delivery is due; then the clock is read again, because the machine may have been suspended.
const IDLE: Duration = Duration::from_secs(60);

/// The sender, as an axum handler receives it.
pub(super) type SenderState = State<Arc<Sender>>;

/// Sends the deliveries of the simulated Linktree.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
    /// Opens a connection for each request, so that a receiver that is gone is noticed at once.
    http: reqwest::Client,
    /// Keeps connections alive.
    http_keep_alive: reqwest::Client,
}

/// An attempt or a disabled subscription while the clock advanced, and its time since the start of the advance.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) after: Duration,
    pub(super) what: StepEvent,
}

#[derive(Debug)]
pub(super) enum StepEvent {
    Attempt { delivery: String, answer: Answer },
    Disabled(SubscriptionId),
}

impl Sender {
    /// A sender that follows no redirect and uses no proxy. It trusts the authorities in `trusted` besides those of the
    /// machine.
    ///
    /// # Errors
    /// If TLS cannot be configured on this machine.
    pub(super) fn new(shared: Arc<Shared>, trusted: &[Certificate]) -> Result<Self, reqwest::Error> {
        let client = |idle_connections| {
            reqwest::Client::builder()
                .redirect(Policy::none())
                .no_proxy()
                .pool_max_idle_per_host(idle_connections)
                .tls_certs_merge(trusted.iter().cloned())
                .user_agent("Linktree-Webhooks (simulator)")
                .build()
        };
        Ok(Sender { shared, http: client(0)?, http_keep_alive: client(CONCURRENCY)? })
    }

    /// Runs the attempts as they fall due, until `shutdown`; it does not wait for attempts in flight.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.send_due()).await;
    }

    async fn send_due(self: Arc<Self>) {
        let slots = Arc::new(Semaphore::new(CONCURRENCY));
        let mut attempts = JoinSet::new();
        loop {
            let order = Arc::clone(&self.shared.order).read_owned().await;
            // `acquire_owned` fails only for a closed semaphore, and this one is never closed.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            match self.shared.without_notify(|state, real| state.take_due(real)) {
                Some(Due::Attempt(plan)) => {
                    let sender = Arc::clone(&self);
                    attempts.spawn(async move {
                        sender.attempt(plan).await;
                        drop((order, slot));
                    });
                    while attempts.try_join_next().is_some() {}
                    continue;
                }
                Some(Due::Disabled(id)) => {
                    tracing::warn!(subscription = %id, "subscription disabled after 72 hours of failures");
                    continue;
                }
                None => drop((order, slot)),
            }
            tokio::select! {
                () = self.shared.changed.notified() => {}
                () = tokio::time::sleep(self.until_next_due()) => {}
            }
        }
    }

    fn until_next_due(&self) -> Duration {
        self.shared.without_notify(|state, real| {
            let due = state.next_due().map(|due| due.duration_since(state.clock.now(real)));
            due.map_or(IDLE, |wait| Duration::try_from(wait).unwrap_or_default().min(IDLE))
        })
    }

    /// Waits for the attempts in flight, then advances the clock by `by` and runs the attempts that fall due on the way
    /// one by one, in order. If `by` is zero, it runs only the attempts that are due already.
    ///
    /// # Errors
    /// [`Rejection::Unprocessable`] if the simulator would be too far ahead.
    pub(super) async fn advance(&self, by: Duration) -> Result<Vec<Step>, Rejection> {
        let _exclusive = self.shared.order.write().await;
        let (start, target) = self.shared.with(|state, real| {
            let start = state.clock.now(real);
            state.clock.check_move_by(by).map(|()| (start, start + by))
        })?;
        let mut steps = Vec::new();
        while let Some((at, due)) = self.shared.with(|state, real| state.move_to_next_due(target, real)) {
            let what = match due {
                Due::Disabled(id) => StepEvent::Disabled(id),
                Due::Attempt(plan) => {
                    let delivery = plan.delivery.clone();
                    StepEvent::Attempt { delivery, answer: self.attempt(plan).await }
                }
            };
            steps.push(Step { after: at.duration_since(start).unsigned_abs(), what });
        }
        self.shared.with(|state, real| state.clock.move_to(target, real));
        Ok(steps)
    }

    /// Runs one attempt and records its outcome.
    async fn attempt(&self, plan: Plan) -> Answer {
        tokio::time::sleep(plan.delay).await;
        let mut requests = Vec::with_capacity(plan.requests.len());
        for request in &plan.requests {
            requests.push(self.send(request));
        }
        let mut answers = Vec::with_capacity(requests.len());
        if plan.at_once {
            answers = join_all(requests).await;
        } else {
            for request in requests {
                answers.push(request.await);
            }
        }
        let delivery = plan.delivery.clone();
        let answer = self.shared.with(|state, real| state.finish(plan, answers, real));
        tracing::info!(delivery, ?answer, "delivery attempted");
        answer
    }

    /// Sends one request and reads the response.
    pub(super) async fn send(&self, request: &Request) -> Answer {
        let keep_alive = self.shared.without_notify(|state, _| state.keep_alive);
        let http = if keep_alive { &self.http_keep_alive } else { &self.http };
        let mut builder = http
            .post(&request.url)
            .header(CONTENT_TYPE, "application/json")
            .header(headers::DELIVERY_ID, &request.delivery_id)
            .body(request.body.clone());
        if let Some((sent_at, signature)) = &request.signed {
            builder =
                builder.header(headers::TIMESTAMP, sent_at.as_str()).header(headers::SIGNATURE, signature.to_hex());
        }
        let no_answer = |problem| Answer::None { problem };
        match tokio::time::timeout(TIMEOUT, exchange(builder)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => no_answer(root_cause(error)),
            Err(_elapsed) => no_answer(format!("no response within {} s", TIMEOUT.as_secs())),
        }
    }
}

async fn exchange(builder: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let mut response = builder.send().await?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() < ANSWER_KEPT {
        // The status alone decides whether the attempt succeeded, so an incomplete body is no error.
        let Ok(Some(chunk)) = response.chunk().await else { break };
        body.extend_from_slice(&chunk);
    }
    body.truncate(ANSWER_KEPT);
    Ok(Answer::Status { status, body: String::from_utf8_lossy(&body).into_owned() })
}

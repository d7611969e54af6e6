//! `GET /status` on the admin port: the state of the receiver, for requests with the route's admin token.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::get,
};

use super::auth;
use crate::{
    clock,
    receiver::{
        config::{Config, Current, certificate::Certificate},
        journal::{
            Backlog, Journal, JournalError,
            inspect::{Inspect, Inventory},
        },
        stats::{counters::DeliveryStats, snapshot::StatsSnapshot},
    },
    route::{
        self,
        status::{JournalHealth, JournalUsage, Milestones, ReceiverStatus, SinkStatus},
    },
};

/// The sources of the status.
#[derive(Clone)]
pub struct Sources {
    pub config: Current,
    pub journal: Arc<dyn Journal>,
    pub stats: Arc<DeliveryStats>,
    pub inspect: Arc<dyn Inspect>,
    pub certificate: Option<Arc<Certificate>>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// The route `/status`, to merge into the admin port's router.
pub fn router(sources: Sources) -> Router {
    Router::new().route("/status", get(status)).with_state(sources)
}

impl Sources {
    /// Whether the receiver can accept a signed delivery now.
    ///
    /// # Errors
    /// The reason why not, without secrets.
    pub fn ready(&self) -> Result<(), String> {
        if self.config.borrow().is_none() {
            return Err("no valid route file has been loaded yet".to_owned());
        }
        if let Some(route::status::Certificate { serving: false, problem, .. }) = self.certificate() {
            return Err(problem.unwrap_or_else(|| "the certificate has not been loaded yet".to_owned()));
        }
        match self.journal.health() {
            JournalHealth::Healthy => Ok(()),
            JournalHealth::Full => Err("the journal is full".to_owned()),
            JournalHealth::Failed { problem } => Err(problem),
        }
    }

    fn certificate(&self) -> Option<route::status::Certificate> {
        self.certificate.as_ref().map(|certificate| certificate.status(clock::now()))
    }

    /// Updates the gauges. Those of a journal that cannot be read are absent, not 0. Returns the backlog of the journal, its
    /// inventory, and how full it is.
    pub async fn measure(&self) -> Result<(Vec<Backlog>, Inventory, JournalUsage), JournalError> {
        let measured = tokio::try_join!(self.journal.backlog(), self.inspect.inventory());
        let gauges = &self.stats.metrics().gauges;
        let (backlog, inventory) = measured.inspect_err(|_| gauges.forget_journal())?;
        let now = clock::now().as_second();
        let usage = self.stats.journal_usage(&backlog, &inventory, now, clock::monotonic());
        gauges.set(&backlog, &inventory, &self.stats.snapshot(), now);
        gauges.set_usage(&usage);
        Ok((backlog, inventory, usage))
    }
}

async fn status(State(sources): State<Sources>, header: HeaderMap) -> Result<Json<ReceiverStatus>, StatusCode> {
    let config = auth::authorize(&sources.config, &header)?;
    // If the journal cannot be read, its health in the status says so, and the rest of the status is still useful.
    let (backlog, inventory, journal_usage) = match sources.measure().await {
        Ok((backlog, inventory, usage)) => (Some(backlog), Some(inventory), Some(usage)),
        Err(_) => (None, None, None),
    };
    let milestones = inventory.as_ref().map(|inventory| Milestones { last_time: inventory.last_milestone });
    let (stats, health) = (sources.stats.snapshot(), sources.journal.health());
    let mut status = compose(&config, health, &stats, backlog.as_deref(), clock::now().as_second());
    for sink in &mut status.sinks {
        let dropped = inventory.as_ref().and_then(|inventory| inventory.dropped.get(&sink.name));
        sink.dropped = dropped.copied().unwrap_or(0);
    }
    Ok(Json(ReceiverStatus {
        certificate: sources.certificate(),
        milestones,
        journal_usage,
        last_handled_redrive: inventory.as_ref().and_then(|inventory| inventory.last_redrive.clone()),
        removed_sinks: inventory.map(|inventory| inventory.removed).unwrap_or_default(),
        ..status
    }))
}

/// Composes the status without the certificate and what only the inventory of the journal has. Pure.
fn compose(
    config: &Config,
    journal: JournalHealth,
    stats: &StatsSnapshot,
    backlog: Option<&[Backlog]>,
    now: i64,
) -> ReceiverStatus {
    let sinks = config.route.sinks.iter().map(|sink| {
        let health = stats.sinks.get(&sink.name).cloned().unwrap_or_default();
        let waiting = |count: fn(&Backlog) -> u64| {
            backlog.map(|backlog| backlog.iter().find(|backlog| backlog.sink == sink.name).map_or(0, count))
        };
        SinkStatus {
            name: sink.name.clone(),
            last_success_time: health.last_success,
            consecutive_failures: health.consecutive_failures,
            backlog: waiting(|backlog| backlog.waiting),
            dead_lettered: waiting(|backlog| backlog.dead_lettered),
            last_failure: health.last_failure,
            last_answer: health.last_answer,
            held: health.held,
            dropped: 0,
        }
    });
    ReceiverStatus {
        route_digest: config.digest.clone(),
        journal,
        certificate: None,
        last_received_time: stats.last_received,
        last_verified_time: stats.last_verified,
        last_verified_key: stats.last_key.clone(),
        milestones: None,
        unverified_run: stats.unverified_run.clone(),
        clock_offset_seconds: stats.clock_skew.estimate(),
        last_hour: stats.last_hour(now),
        journal_usage: None,
        backlog: backlog.map(|backlog| backlog.iter().map(|backlog| backlog.waiting).sum()),
        sinks: sinks.collect(),
        removed_sinks: Vec::new(),
        last_handled_redrive: None,
    }
}

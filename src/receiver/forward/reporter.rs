//! Reports attempts and holds to the statistics and the log.

use std::{sync::Arc, time::Instant};

use super::{attempt::Attempt, hold::Hold};
use crate::{
    clock,
    receiver::{
        journal::{JournalError, Outcome, Pending},
        stats::counters::DeliveryStats,
    },
    route::status::HoldCause,
};

/// The reports of one sink.
#[derive(Debug)]
pub(super) struct Reporter {
    sink: String,
    stats: Arc<DeliveryStats>,
    /// The hold that was reported last.
    hold: Option<(HoldCause, Option<Instant>)>,
}

impl Reporter {
    pub(super) fn new(sink: String, stats: Arc<DeliveryStats>) -> Self {
        Reporter { sink, stats, hold: None }
    }

    /// Reports the result of an attempt, and the outcome of its event.
    pub(super) fn attempted(&self, event: &Pending, attempt: &Attempt, outcome: &Outcome) {
        let (sink, now) = (self.sink.as_str(), clock::now().as_second());
        let failure = match attempt {
            Attempt::Unwanted => return,
            Attempt::Delivered => return self.stats.forwarded(sink, now),
            Attempt::Failed(failure) => failure,
        };
        if failure.was_attempted() {
            self.stats.failed(sink, &event.id, failure, clock::monotonic());
        } else {
            self.stats.unfit(sink, &failure.to_string());
        }
        match outcome {
            Outcome::DeadLetter { .. } => self.stats.dead_lettered(sink, &event.id, now, clock::monotonic()),
            Outcome::Retry { tries, .. } => {
                let attempts = tries.attempts;
                tracing::debug!(sink, event = ?event.id, %failure, attempts, "delivery failed, retrying");
            }
            Outcome::Done | Outcome::Unwanted => {}
        }
    }

    /// Reports a hold if it has changed.
    pub(super) fn held(&mut self, hold: &Hold, now: Instant) {
        let mark = hold.mark();
        if mark == self.hold {
            return;
        }
        let (before, sink) = (self.hold.is_some(), self.sink.as_str());
        self.hold = mark;
        let status = hold.status(now, clock::now().as_second());
        self.stats.held(sink, status);
        match status {
            Some(status) if !before => {
                if let Some(suppressed) = self.stats.admit_line("sink held", now) {
                    tracing::warn!(sink, cause = ?status.cause, suppressed, "sink held, probing it with one event at a time");
                }
            }
            None => {
                if let Some(suppressed) = self.stats.admit_line("sink released", now) {
                    tracing::info!(sink, suppressed, "sink takes events again");
                }
            }
            Some(_) => {}
        }
    }

    /// Reports that the journal could not be read.
    pub(super) fn unread(&self, error: &JournalError) {
        if let Some(suppressed) = self.stats.admit_line("cannot read due events", clock::monotonic()) {
            tracing::error!(sink = self.sink, %error, suppressed, "cannot read due events, retrying");
        }
    }

    /// Reports that outcomes could not be recorded.
    pub(super) fn unrecorded(&self, error: &JournalError) {
        if let Some(suppressed) = self.stats.admit_line("cannot record outcomes", clock::monotonic()) {
            tracing::warn!(sink = self.sink, %error, suppressed, "cannot record outcomes, retrying");
        }
    }

    /// Reports that outcomes are not recorded at all.
    pub(super) fn lost(&self, error: &JournalError) {
        tracing::warn!(sink = self.sink, %error, "cannot record outcomes, the events are sent again after the restart");
    }
}

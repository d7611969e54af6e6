//! The forecast of when undelivered events fill the journal, and the finding for `DeliveryAtRisk` that results from it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{
        condition::{ConditionType, Reason},
        journal_status::JournalForecast,
    },
    operator::{
        kubernetes::conditions::{Finding, whole_seconds},
        webhook::{observed::Observed, spec::Spec},
    },
    route::{
        BacklogPolicy,
        status::{JournalHealth, JournalUsage, ReceiverStatus},
    },
};

/// Minimum time between two forecasts in the status: each change costs a write.
const CHANGE_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// The limits from which on a forecast is shown.
struct Limits {
    /// The journal is full within this time, and undelivered events use at least this part of it, in percent.
    within: SignedDuration,
    percent: u64,
    /// Undelivered events use at least this part of the journal, in percent, whether or not they grow.
    percent_alone: u64,
}

const BEGIN: Limits = Limits { within: SignedDuration::from_hours(7 * 24), percent: 25, percent_alone: 75 };
/// The limits for a forecast that is shown already. They are wider, so that a value near a limit does not make the
/// condition alternate.
const STAY: Limits = Limits { within: SignedDuration::from_hours(8 * 24), percent: 20, percent_alone: 70 };

/// The forecast for the status: `None` unless undelivered events fill the journal soon.
///
/// It changes at most once in ten minutes, and only if it differs by more than a tenth of the time that is left.
pub(super) fn forecast(observed: &Observed, now: Timestamp) -> Option<JournalForecast> {
    let known = observed.status.receiver.as_ref().and_then(|receiver| receiver.journal.as_ref()?.forecast.clone());
    let Some(status) = &observed.receiver.status else { return known };
    let Some(usage) = &status.journal_usage else {
        // A journal that cannot be read says nothing; a receiver of an earlier version makes no forecast.
        return known.filter(|_| !matches!(status.journal, JournalHealth::Healthy));
    };
    if known.as_ref().is_some_and(|known| now.duration_since(known.time.0).abs() < CHANGE_INTERVAL) {
        return known;
    }
    let limits = if known.is_some() { STAY } else { BEGIN };
    let next = limits.include(usage, undelivered_bytes(status, usage), now).then(|| JournalForecast {
        time: Time(whole_seconds(now)),
        full_time: usage.full_time.and_then(|second| Timestamp::from_second(second).ok()).map(Time),
        sink: usage.filled_by.clone(),
    })?;
    Some(known.filter(|known| is_close(known, &next, now)).unwrap_or(next))
}

impl Limits {
    fn include(&self, usage: &JournalUsage, undelivered_bytes: u64, now: Timestamp) -> bool {
        let used = |percent| undelivered_bytes.saturating_mul(100) >= usage.capacity_bytes.saturating_mul(percent);
        let soon = usage.full_time.is_some_and(|at| at.saturating_sub(now.as_second()) <= self.within.as_secs());
        (soon && used(self.percent)) || used(self.percent_alone)
    }
}

/// The bytes of undelivered events, by their part of all events. A busy journal is always full of delivered events,
/// which are deleted when room is needed.
///
/// Sinks share their events, so the sink with the most of them counts alone.
fn undelivered_bytes(status: &ReceiverStatus, usage: &JournalUsage) -> u64 {
    let current = status.sinks.iter().map(|sink| (sink.backlog.unwrap_or(0), sink.dead_lettered.unwrap_or(0)));
    let removed = status.removed_sinks.iter().map(|sink| (sink.backlog, sink.dead_lettered));
    let events = current.chain(removed).map(|(waiting, dead)| waiting.saturating_add(dead)).max().unwrap_or(0);
    let bytes = u128::from(usage.bytes) * u128::from(events.min(usage.events)) / u128::from(usage.events.max(1));
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn is_close(known: &JournalForecast, next: &JournalForecast, now: Timestamp) -> bool {
    let times = (known.full_time.as_ref().map(|time| time.0), next.full_time.as_ref().map(|time| time.0));
    known.sink == next.sink
        && match times {
            (None, None) => true,
            (Some(known), Some(next)) => {
                let left = next.duration_since(now).max(SignedDuration::ZERO);
                known.duration_since(next).abs() <= (left / 10).max(CHANGE_INTERVAL)
            }
            (Some(_), None) | (None, Some(_)) => false,
        }
}

/// The finding for `DeliveryAtRisk`: `reported`, what Linktree reports about deliveries, unless they succeed and the
/// forecast is that they will not.
pub(super) fn at_risk(spec: &Spec, forecast: Option<&JournalForecast>, reported: Finding) -> Finding {
    match forecast {
        Some(forecast) if !reported.holds() => Finding::new(true, Reason::BacklogFillsJournal, message(spec, forecast)),
        Some(_) | None => reported,
    }
}

/// The finding for `DeliveryAtRisk` in the status, without the forecast: a forecast replaces only a finding that
/// deliveries succeed.
pub(super) fn last_reported(observed: &Observed) -> Finding {
    let finding = observed.carry_over(ConditionType::DeliveryAtRisk);
    if finding.reason == Reason::BacklogFillsJournal {
        Finding::new(false, Reason::DeliveriesSucceeding, "no deliveries fail")
    } else {
        finding
    }
}

fn message(spec: &Spec, JournalForecast { time: _, full_time, sink }: &JournalForecast) -> String {
    let fill = match full_time {
        Some(_) => "undelivered events fill the journal",
        None => "undelivered events fill most of the journal",
    };
    let most = sink.as_ref().map(|sink| format!(", most of them of sink {sink}")).unwrap_or_default();
    let when = match full_time {
        Some(Time(at)) => format!("at the present rate it is full at {at}, and then"),
        None => "when it is full,".to_owned(),
    };
    let of_spec = spec.sinks.iter().find(|known| Some(&known.name) == sink.as_ref());
    let (consequence, remedy) = match (of_spec.map(|sink| sink.backlog_policy), sink) {
        (Some(BacklogPolicy::DropOldest), Some(sink)) => {
            (format!("the dead letters and oldest events of sink {sink} are given up"), "make the sink accept events")
        }
        (Some(BacklogPolicy::Refuse), _) => (
            "deliveries are answered 503".to_owned(),
            "make the sink accept events, set its delivery.backlogPolicy to DropOldest",
        ),
        (Some(BacklogPolicy::DropOldest) | None, _) => {
            ("deliveries are answered 503".to_owned(), "let the sinks accept events")
        }
    };
    format!("{fill}{most}; {when} {consequence}: {remedy}, or enlarge receiver.journal.capacity")
}

#[cfg(test)]
mod tests;

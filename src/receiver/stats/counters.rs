//! Counts deliveries and attempts to forward them, for the status, the metrics and the log. It decides nothing and
//! stores nothing on disk: rejected requests must not be able to keep the disk busy. A restart therefore resets the
//! last hour, and the health of a sink shows at the next attempt; durable facts are in the journal, and the operator
//! keeps earlier times.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    forecast::Forecast,
    labels::{SinkLabel, VerdictLabel},
    log_limiter::LogLimiter,
    metrics::Metrics,
    snapshot::StatsSnapshot,
};
use crate::{
    linktree::{event::EventType, headers::DELIVERY_ID_MAX},
    receiver::{
        ingest::verdict::{Bucket, Verdict},
        journal::{Backlog, inspect::Inventory},
        sink::failure::Failure,
    },
    route::{
        Key,
        status::{DeliveryCounts, JournalUsage, SinkHold, UnverifiedRun},
    },
};

/// The delivery statistics, shared by all parts of the receiver.
#[derive(Debug)]
pub struct DeliveryStats {
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    snapshot: StatsSnapshot,
    forecast: Forecast,
    /// One rate limit for each kind of log line.
    log_limiters: HashMap<&'static str, LogLimiter>,
}

impl DeliveryStats {
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        DeliveryStats { metrics, state: Mutex::default() }
    }

    /// A copy of the statistics.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        self.lock().snapshot.clone()
    }

    /// Adds a measurement of the journal, and returns how full it is.
    pub fn journal_usage(&self, backlog: &[Backlog], inventory: &Inventory, now: i64, moment: Instant) -> JournalUsage {
        self.lock().forecast.observe(backlog, inventory, now, moment)
    }

    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Records that a key verified a delivery signed at `sent_at`, whatever its verdict.
    pub fn verified(&self, key: &str, sent_at: i64, now: i64) {
        let mut state = self.lock();
        state.snapshot.last_verified = Some(now);
        state.snapshot.unverified_run = None;
        state.snapshot.clock_skew.observe(sent_at, now);
        if state.snapshot.last_key.as_deref() != Some(key) {
            state.snapshot.last_key = Some(key.to_owned());
        }
    }

    /// Records a change of the keys: resets the run of unverified deliveries, which says nothing about the new keys,
    /// and forgets the last verifying key unless it is now the first key.
    pub fn keys_changed(&self, before: &[Key], after: &[Key]) {
        if before == after {
            return;
        }
        let mut state = self.lock();
        state.snapshot.unverified_run = None;
        let last = state.snapshot.last_key.take().and_then(|last| before.iter().find(|key| key.name == last));
        let current = after.first().filter(|current| last.is_some_and(|last| last.secret == current.secret));
        state.snapshot.last_key = current.map(|current| current.name.clone());
    }

    /// Records the answer to a request. `delivery_id` is the header of that name, as the sender wrote it.
    pub fn answered(&self, verdict: Verdict, delivery_id: Option<&[u8]>, now: i64, moment: Instant) {
        let label = verdict.label();
        self.metrics.requests.get_or_create(&VerdictLabel { verdict: label }).inc();
        let mut state = self.lock();
        if let Some(bucket) = verdict.bucket() {
            count(state.snapshot.last_hour.at(now), bucket);
        }
        if verdict.has_delivery_headers() {
            state.snapshot.last_received = Some(now);
        }
        match verdict {
            Verdict::Verified | Verdict::Duplicate => return,
            Verdict::Unverified { recent: true } | Verdict::Malformed { recent: true } => {
                let run = state.snapshot.unverified_run.get_or_insert(UnverifiedRun { since: now, count: 0 });
                run.count += 1;
            }
            Verdict::Stale { off } => state.snapshot.clock_skew.observe(now.saturating_sub(off), now),
            Verdict::Conflict
            | Verdict::MissingHeader
            | Verdict::Malformed { recent: false }
            | Verdict::Unverified { recent: false }
            | Verdict::NotConfigured
            | Verdict::Overloaded
            | Verdict::JournalFull
            | Verdict::JournalFailed
            | Verdict::BadHost
            | Verdict::NotFound
            | Verdict::MethodNotAllowed
            | Verdict::TooLarge
            | Verdict::Encoded
            | Verdict::TransferEncoded
            | Verdict::BodyTimeout
            | Verdict::BodyBroken
            | Verdict::HeaderTooLarge
            | Verdict::BadRequest => {}
        }
        let Some(suppressed) = state.log_limiters.entry(label).or_default().admit(moment) else { return };
        let status = verdict.status().as_u16();
        let delivery_id = delivery_id.map(logged_id);
        if verdict == Verdict::Conflict {
            tracing::warn!(verdict = label, status, delivery_id, suppressed, "event stored with a reused delivery id");
        } else {
            tracing::warn!(verdict = label, status, delivery_id, suppressed, "delivery rejected");
        }
    }

    /// Records a probe of the operator, which is not a delivery.
    pub fn probed(&self) {
        self.metrics.requests.get_or_create(&VerdictLabel { verdict: "probe" }).inc();
    }

    /// Records a stored event of a type that this version does not know.
    pub fn unknown_type(&self, event_type: &EventType, now: i64, moment: Instant) {
        self.metrics.unknown_types.inc();
        self.lock().snapshot.last_hour.at(now).unknown_type += 1;
        if let Some(suppressed) = self.admit_line("unknown_type", moment) {
            tracing::warn!(event_type = ?event_type.as_str(), suppressed, "event of unknown type stored");
        }
    }

    /// Whether a log line of this kind may be written at `moment`; if so, the number of lines suppressed since the
    /// last one.
    pub fn admit_line(&self, kind: &'static str, moment: Instant) -> Option<u64> {
        self.lock().log_limiters.entry(kind).or_default().admit(moment)
    }

    /// Records an event that a sink accepted.
    pub fn forwarded(&self, sink: &str, now: i64) {
        self.metrics.forwarded.get_or_create(&SinkLabel { sink: sink.to_owned() }).inc();
        let mut state = self.lock();
        state.snapshot.last_hour.at(now).forwarded += 1;
        let health = state.snapshot.sinks.entry(sink.to_owned()).or_default();
        (health.last_success, health.consecutive_failures) = (Some(now), 0);
    }

    /// Records a failed attempt to send the event `id` to a sink.
    pub fn failed(&self, sink: &str, id: &str, failure: &Failure, moment: Instant) {
        self.metrics.failed.get_or_create(&SinkLabel { sink: sink.to_owned() }).inc();
        let mut state = self.lock();
        let health = state.snapshot.sinks.entry(sink.to_owned()).or_default();
        health.consecutive_failures += 1;
        health.last_failure = Some(failure.summary());
        health.last_answer = failure.answer().map(str::to_owned);
        if let Some(suppressed) = state.log_limiters.entry("attempt").or_default().admit(moment) {
            tracing::warn!(sink, event = ?id, failure = failure.summary(), suppressed, "attempt to deliver an event failed");
        }
    }

    /// Records an event that does not fit a sink's format or filter; this says nothing about the health of the sink.
    pub fn unfit(&self, sink: &str, failure: &str) {
        self.lock().snapshot.sinks.entry(sink.to_owned()).or_default().last_failure = Some(failure.to_owned());
    }

    /// Records the hold of a sink; `None`: it gets events. Returns whether it was held until now.
    pub fn held(&self, sink: &str, held: Option<SinkHold>) -> bool {
        let mut state = self.lock();
        let health = state.snapshot.sinks.entry(sink.to_owned()).or_default();
        std::mem::replace(&mut health.held, held).is_some()
    }

    /// Records that an event became a dead letter at a sink.
    pub fn dead_lettered(&self, sink: &str, id: &str, now: i64, moment: Instant) {
        self.metrics.dead_lettered.get_or_create(&SinkLabel { sink: sink.to_owned() }).inc();
        let mut state = self.lock();
        state.snapshot.last_hour.at(now).dead_lettered += 1;
        if let Some(suppressed) = state.log_limiters.entry("dead_letter").or_default().admit(moment) {
            let failure = state.snapshot.sinks.get(sink).and_then(|health| health.last_failure.as_deref());
            tracing::error!(sink, event = ?id, failure, suppressed, "event moved to dead letters");
        }
    }

    /// Locks the state. A poisoned lock is used too: counters half updated at a panic do no harm.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The form of a delivery id in the log. Anyone can send any bytes as an id, so it is escaped and bounded.
fn logged_id(id: &[u8]) -> String {
    id[..id.len().min(DELIVERY_ID_MAX)].escape_ascii().to_string()
}

fn count(counts: &mut DeliveryCounts, bucket: Bucket) {
    let count = match bucket {
        Bucket::Verified => &mut counts.verified,
        Bucket::Duplicate => &mut counts.duplicate,
        Bucket::Conflict => &mut counts.conflict,
        Bucket::RejectedMissingHeader => &mut counts.rejected_missing_header,
        Bucket::RejectedMalformed => &mut counts.rejected_malformed,
        Bucket::RejectedSignature => &mut counts.rejected_signature,
        Bucket::RejectedStale => &mut counts.rejected_stale,
        Bucket::RejectedRequest => &mut counts.rejected_request,
        Bucket::Unavailable => &mut counts.unavailable,
    };
    *count += 1;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::{clock, linktree::secret::Secret};

    #[test]
    fn a_run_of_unverified_deliveries_ends_with_a_verified_one() {
        let stats = DeliveryStats::new(Metrics::register(&mut Registry::default()));
        let answered = |verdict, now| stats.answered(verdict, None, now, clock::monotonic());
        answered(Verdict::Unverified { recent: false }, 1);
        assert_eq!(stats.snapshot().unverified_run, None, "an old capture proves nothing about our keys");
        answered(Verdict::Unverified { recent: true }, 2);
        answered(Verdict::MissingHeader, 3);
        answered(Verdict::Unverified { recent: true }, 4);
        assert_eq!(stats.snapshot().unverified_run, Some(UnverifiedRun { since: 2, count: 2 }));
        assert_eq!((stats.snapshot().last_received, stats.snapshot().last_verified), (Some(4), None));
        stats.verified("k1", 5, 5);
        answered(Verdict::Verified, 5);
        assert_eq!(stats.snapshot().unverified_run, None);
        let hour = stats.snapshot().last_hour(5);
        assert_eq!((hour.verified, hour.rejected_signature, hour.rejected_missing_header), (1, 3, 1));
    }

    #[test]
    fn signatures_of_another_form_are_unverified_deliveries_too() {
        let stats = DeliveryStats::new(Metrics::register(&mut Registry::default()));
        let answered = |verdict, now| stats.answered(verdict, None, now, clock::monotonic());
        answered(Verdict::Malformed { recent: false }, 1);
        assert_eq!(stats.snapshot().unverified_run, None, "the timestamp or a repeated header says nothing about keys");
        answered(Verdict::Malformed { recent: true }, 2);
        answered(Verdict::Unverified { recent: true }, 3);
        answered(Verdict::Malformed { recent: true }, 4);
        assert_eq!(stats.snapshot().unverified_run, Some(UnverifiedRun { since: 2, count: 3 }));
        let hour = stats.snapshot().last_hour(5);
        assert_eq!((hour.rejected_malformed, hour.rejected_signature), (3, 1), "each in its own count");
    }

    #[test]
    fn every_result_is_counted_by_reason() {
        let stats = DeliveryStats::new(Metrics::register(&mut Registry::default()));
        for verdict in Verdict::ALL {
            stats.answered(verdict, None, 1, clock::monotonic());
        }
        stats.unknown_type(&EventType::Unknown("collection.created".into()), 1, clock::monotonic());
        let counted = DeliveryCounts {
            verified: 1,
            duplicate: 1,
            conflict: 1,
            unknown_type: 1,
            rejected_missing_header: 1,
            rejected_malformed: 1,
            rejected_signature: 1,
            rejected_stale: 1,
            // 408, 413, 415, 431, 501 and a broken body.
            rejected_request: 6,
            unavailable: 4,
            forwarded: 0,
            dead_lettered: 0,
        };
        assert_eq!(stats.snapshot().last_hour(1), counted);
    }

    #[test]
    fn only_a_request_with_delivery_headers_counts_as_received() {
        for (verdict, received) in [
            (Verdict::Duplicate, Some(7)),
            (Verdict::Malformed { recent: false }, Some(7)),
            (Verdict::TooLarge, Some(7)),
            (Verdict::MissingHeader, None),
            (Verdict::HeaderTooLarge, None),
            (Verdict::TransferEncoded, None),
            (Verdict::NotFound, None),
        ] {
            let stats = DeliveryStats::new(Metrics::register(&mut Registry::default()));
            stats.answered(verdict, None, 7, clock::monotonic());
            assert_eq!(stats.snapshot().last_received, received, "{verdict:?}");
        }
    }

    #[test]
    fn changed_keys_reset_the_conclusions_about_the_old_keys() {
        let key = |name: &str, secret: &str| Key { name: name.into(), secret: Secret::new(secret) };
        let old = [key("k1", "a"), key("k0", "z")];
        for (sentence, after, run, last) in [
            ("no change", vec![key("k1", "a"), key("k0", "z")], 1, Some("k1")),
            ("the first key is renamed", vec![key("now", "a")], 0, Some("now")),
            ("a key is appended", vec![key("k1", "a"), key("k2", "b")], 0, Some("k1")),
            ("a key is prepended", vec![key("k2", "b"), key("k1", "a")], 0, None),
            ("the name has another secret", vec![key("k1", "b")], 0, None),
            ("all keys are removed", vec![], 0, None),
        ] {
            let stats = DeliveryStats::new(Metrics::register(&mut Registry::default()));
            stats.verified("k1", 5, 5);
            stats.answered(Verdict::Unverified { recent: true }, None, 6, clock::monotonic());
            stats.keys_changed(&old, &after);
            let snapshot = stats.snapshot();
            assert_eq!(snapshot.unverified_run.map_or(0, |run| run.count), run, "{sentence}");
            assert_eq!(snapshot.last_key.as_deref(), last, "{sentence}");
        }
    }

    #[test]
    fn a_sink_is_failing_until_it_accepts_an_event() {
        let stats = DeliveryStats::new(Metrics::register(&mut Registry::default()));
        stats.failed("cms", "d1", &Failure::TimedOut, clock::monotonic());
        stats.failed("cms", "d2", &Failure::TimedOut, clock::monotonic());
        assert_eq!(stats.snapshot().sinks["cms"].consecutive_failures, 2);
        stats.forwarded("cms", 7);
        let health = &stats.snapshot().sinks["cms"];
        assert_eq!((health.consecutive_failures, health.last_success), (0, Some(7)));
    }

    /// A copy of the log.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The log lines that `act` writes.
    fn logged(act: impl FnOnce(&DeliveryStats)) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let stats = DeliveryStats::new(Metrics::register(&mut Registry::default()));
        tracing::subscriber::with_default(subscriber, || act(&stats));
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn log_lines_have_the_delivery_id_escaped_and_bounded() {
        let rejected = |id: &'static [u8]| {
            logged(|stats| stats.answered(Verdict::Malformed { recent: true }, Some(id), 1, clock::monotonic()))
        };
        assert!(rejected(b"dlv_01H").contains("delivery_id=\"dlv_01H\""), "{}", rejected(b"dlv_01H"));
        let hostile = rejected(b"d1\"\nERROR forged \x1b[31m\xff");
        assert!(hostile.lines().count() == 1 && hostile.is_ascii() && !hostile.contains('\x1b'), "{hostile}");
        let long = rejected(&[0xff; 100_000]);
        assert!(long.len() < 1024, "{} bytes", long.len());
        let none = logged(|stats| stats.answered(Verdict::BadRequest, None, 1, clock::monotonic()));
        assert!(none.contains("delivery rejected") && !none.contains("delivery_id"), "{none}");
        let conflict = logged(|stats| stats.answered(Verdict::Conflict, Some(b"d7"), 1, clock::monotonic()));
        assert!(conflict.contains("delivery_id=\"d7\""), "{conflict}");
        let failed = logged(|stats| stats.failed("cms", "d\n8", &Failure::TimedOut, clock::monotonic()));
        assert!(failed.contains(r#"event="d\n8""#) && failed.contains("did not answer in time"), "{failed}");
        let dead = logged(|stats| stats.dead_lettered("cms", "d9", 1, clock::monotonic()));
        assert!(dead.contains("event=\"d9\""), "{dead}");
    }

    #[test]
    fn lines_of_a_kind_are_throttled_whatever_their_id() {
        let lines = logged(|stats| {
            for id in 0..1000 {
                stats.answered(
                    Verdict::Malformed { recent: true },
                    Some(format!("d{id}").as_bytes()),
                    1,
                    clock::monotonic(),
                );
                stats.failed("cms", &format!("d{id}"), &Failure::TimedOut, clock::monotonic());
            }
        });
        assert_eq!(lines.lines().count(), 2, "{lines}");
    }
}

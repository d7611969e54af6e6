//! Tests of the forecast.

use serde_json::json;

use super::*;
use crate::{
    api::{journal_status::JournalStatus, webhook_status::ReceiverStatus},
    operator::webhook::{
        decide::tests::{NOW, at, settled},
        spec::tests::webhook,
    },
    route::status::RemovedSink,
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A journal of 100 events, of which so many are undelivered, and which is full so many seconds from now.
fn usage(undelivered: u64, full_in: Option<i64>) -> (u64, JournalUsage) {
    let usage = JournalUsage {
        events: 100,
        bytes: 100_000,
        capacity_bytes: 100_000,
        full_time: full_in.map(|seconds| NOW + seconds),
        filled_by: Some("cms".into()),
    };
    (undelivered, usage)
}

/// A forecast that was made so many seconds ago.
fn made(ago: i64, full_in: Option<i64>) -> JournalForecast {
    let full_time = full_in.map(|seconds| Time(at(NOW + seconds)));
    JournalForecast { time: Time(at(NOW - ago)), full_time, sink: Some("cms".into()) }
}

fn after(known: Option<JournalForecast>, (undelivered, usage): (u64, JournalUsage)) -> Option<JournalForecast> {
    let mut observed = settled();
    let journal = Some(JournalStatus { forecast: known, ..JournalStatus::default() });
    observed.status.receiver = Some(ReceiverStatus { journal, ..ReceiverStatus::default() });
    let status = observed.receiver.status.as_mut().unwrap();
    status.journal_usage = Some(usage);
    let sink = &mut status.sinks[0];
    (sink.backlog, sink.dead_lettered) = (Some(undelivered / 2), Some(undelivered - undelivered / 2));
    forecast(&observed, at(NOW))
}

#[test]
fn a_forecast_begins_a_week_before_the_journal_is_full_or_at_three_quarters() {
    let cases = [
        ("a quarter, within a week", usage(25, Some(7 * DAY)), true),
        ("less than a quarter", usage(24, Some(DAY)), false),
        ("later than in a week", usage(50, Some(7 * DAY + 1)), false),
        ("it does not grow", usage(74, None), false),
        ("three quarters", usage(75, None), true),
        ("it is full of delivered events", usage(1, None), false),
        ("it is full of delivered events, and a few undelivered ones grow", usage(10, Some(DAY)), false),
        ("it should be full already", usage(99, Some(-60)), true),
    ];
    for (case, usage, expected) in cases {
        assert_eq!(after(None, usage).is_some(), expected, "{case}");
    }
}

#[test]
fn a_forecast_moves_at_most_once_in_ten_minutes_and_ends_late() {
    let cases = [
        ("it is recent", made(599, Some(DAY)), usage(0, None), Some(made(599, Some(DAY)))),
        ("it has moved by a day", made(600, Some(DAY)), usage(30, Some(2 * DAY)), Some(made(0, Some(2 * DAY)))),
        ("it has moved by an hour", made(600, Some(DAY)), usage(30, Some(25 * HOUR)), Some(made(600, Some(DAY)))),
        ("growth has ended", made(600, Some(DAY)), usage(70, None), Some(made(0, None))),
        ("near the limits", made(600, Some(8 * DAY)), usage(20, Some(8 * DAY)), Some(made(600, Some(8 * DAY)))),
        ("the journal has emptied", made(600, Some(DAY)), usage(19, Some(DAY)), None),
        ("it is full later than in eight days", made(600, Some(DAY)), usage(30, Some(8 * DAY + 1)), None),
    ];
    for (case, known, usage, expected) in cases {
        assert_eq!(after(Some(known), usage), expected, "{case}");
    }
}

#[test]
fn the_events_of_a_removed_sink_fill_the_journal_too() {
    let mut observed = settled();
    let status = observed.receiver.status.as_mut().unwrap();
    let (_, usage) = usage(0, None);
    status.removed_sinks = vec![RemovedSink { name: "old".into(), backlog: 5, dead_lettered: 70 }];
    assert_eq!(undelivered_bytes(status, &usage), 75_000);
    assert_eq!(undelivered_bytes(status, &JournalUsage { events: 0, bytes: 0, ..usage }), 0, "an empty journal");
}

#[test]
fn without_a_report_the_forecast_stays_except_for_that_of_another_version() {
    let known = made(HOUR, Some(DAY));
    let mut observed = settled();
    let journal = Some(JournalStatus { forecast: Some(known.clone()), ..JournalStatus::default() });
    observed.status.receiver = Some(ReceiverStatus { journal, ..ReceiverStatus::default() });
    assert_eq!(forecast(&observed, at(NOW)), None, "a receiver of an earlier version");
    observed.receiver.status.as_mut().unwrap().journal = JournalHealth::Full;
    assert_eq!(forecast(&observed, at(NOW)), Some(known.clone()), "its journal cannot be read");
    observed.receiver.status = None;
    assert_eq!(forecast(&observed, at(NOW)), Some(known), "it does not respond");
}

#[test]
fn the_message_has_the_time_the_sink_and_the_remedy_of_its_policy() {
    let message = |policy: &str, forecast: &JournalForecast| {
        let spec = webhook(|object| object["spec"]["sinks"][0]["delivery"] = json!({"backlogPolicy": policy}));
        message(&Spec::parse(&spec).unwrap(), forecast)
    };
    let refuse = message("Refuse", &made(0, Some(DAY)));
    assert_eq!(
        refuse,
        "undelivered events fill the journal, most of them of sink cms; at the present rate it is full at \
         2027-01-16T08:00:00Z, and then deliveries are answered 503: make the sink accept events, set its \
         delivery.backlogPolicy to DropOldest, or enlarge receiver.journal.capacity"
    );
    let drop = message("DropOldest", &made(0, None));
    assert!(drop.contains("when it is full, the dead letters and oldest events of sink cms are given up"), "{drop}");
    let removed = message("DropOldest", &JournalForecast { sink: Some("old".into()), ..made(0, None) });
    assert!(removed.contains("sink old; when it is full, deliveries are answered 503"), "{removed}");
}

#[test]
fn failing_deliveries_are_reported_before_the_forecast_and_survive_it() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let failing = Finding::new(true, Reason::DeliveriesFailing, "why");
    let succeeding = Finding::new(false, Reason::DeliveriesSucceeding, "no deliveries fail");
    let forecast = made(0, Some(DAY));
    assert_eq!(at_risk(&spec, Some(&forecast), failing.clone()), failing);
    assert_eq!(at_risk(&spec, None, succeeding.clone()), succeeding);
    let at_risk = at_risk(&spec, Some(&forecast), succeeding.clone());
    assert_eq!((at_risk.holds(), at_risk.reason), (true, Reason::BacklogFillsJournal));
    let mut observed = settled();
    let render = |finding| {
        crate::operator::kubernetes::conditions::render(&[(ConditionType::DeliveryAtRisk, finding)], &[], None, at(NOW))
    };
    observed.status.conditions = render(at_risk);
    assert_eq!(last_reported(&observed), succeeding, "a forecast does not mean that Linktree reports failures");
    observed.status.conditions = render(failing.clone());
    assert_eq!(last_reported(&observed), failing);
}

//! The reason why the API server refuses to create a receiver's pod. Only the Events of its StatefulSet have it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;

use super::read::api;
use crate::operator::{
    kubernetes::guarded::GuardedApi,
    webhook::{context::Context, spec::Spec},
};

/// Number of Events that are read. The API server keeps one per reason and text.
const EVENTS_MAX: u32 = 20;
/// Age from which an Event is ignored. The controller tries again after at most 17 minutes, and then reports it again.
const CURRENT_FOR: SignedDuration = SignedDuration::from_mins(20);
/// Maximum length of the reason, in characters.
const PROBLEM_MAX: usize = 400;
/// The words before the API server's message in the controller's text.
const BEFORE_MESSAGE: &str = "failed error: ";

/// Why the pod could not be created last, for a receiver without a pod.
pub async fn refusal(context: &Context, spec: &Spec, now: Timestamp) -> Result<Option<String>, kube::Error> {
    let name = spec.receiver_name();
    let selector = format!("regarding.kind=StatefulSet,regarding.name={name},reason=FailedCreate");
    let events: GuardedApi<Event> = api(context, spec);
    let found = events.list(&ListParams::default().fields(&selector).limit(EVENTS_MAX)).await?;
    Ok(newest(found.items.iter().map(|event| &**event), &name, now))
}

fn newest<'a>(events: impl Iterator<Item = &'a Event>, stateful_set: &str, now: Timestamp) -> Option<String> {
    let is_about = |event: &&Event| {
        let regarding = event.regarding.as_ref();
        regarding
            .is_some_and(|it| it.kind.as_deref() == Some("StatefulSet") && it.name.as_deref() == Some(stateful_set))
            && event.reason.as_deref() == Some("FailedCreate")
    };
    let current = events.filter(is_about).filter_map(|event| Some((reported_at(event)?, event.note.as_deref()?)));
    let current = current.filter(|(at, _)| now.duration_since(*at) < CURRENT_FOR);
    let (_, note) = current.max_by_key(|(at, _)| *at)?;
    let message = note.split_once(BEFORE_MESSAGE).map_or(note, |(_, message)| message);
    Some(message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(PROBLEM_MAX).collect())
}

/// When the controller reported the Event last. It uses the older of the two forms of Events.
fn reported_at(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let last = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    series.or(last).or_else(|| event.event_time.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(reason: &str, name: &str, at: &str, note: &str) -> Value {
        json!({
            "regarding": {"kind": "StatefulSet", "name": name}, "reason": reason, "note": note,
            "deprecatedLastTimestamp": at,
        })
    }

    #[test]
    fn the_newest_refusal_of_this_receiver_counts() {
        let note = |problem: &str| {
            format!("create Pod links-receiver-0 in StatefulSet links-receiver failed error: {problem}")
        };
        let events = [
            event("FailedCreate", "links-receiver", "2026-01-01T00:00:00Z", &note("one")),
            event(
                "FailedCreate",
                "links-receiver",
                "2026-01-01T00:05:00Z",
                &note("pods \"links-receiver-0\" is\n forbidden"),
            ),
            event("FailedCreate", "other-receiver", "2026-01-01T00:06:00Z", &note("another receiver")),
            event("SuccessfulCreate", "links-receiver", "2026-01-01T00:06:00Z", "created"),
        ];
        let events: Vec<Event> = events.map(|event| serde_json::from_value(event).unwrap()).into();
        let at = |now: &str| newest(events.iter(), "links-receiver", now.parse().unwrap());
        assert_eq!(at("2026-01-01T00:06:00Z").as_deref(), Some("pods \"links-receiver-0\" is forbidden"));
        assert_eq!(at("2026-01-01T00:25:00Z"), None, "it is old");
        assert_eq!(newest([].iter(), "links-receiver", Timestamp::UNIX_EPOCH), None);
    }
}

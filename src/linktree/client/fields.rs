//! Reads the fields of a response. Only the documented ones are required: the id of a subscription, and a secret where
//! Linktree gives one. Every other field is assumed; one of another type or form counts as absent. Pure, except for one
//! log line per field.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::linktree::{
    event::EventType,
    secret::Secret,
    wire::{Account, Subscription, SubscriptionId, SubscriptionStatus},
};

/// The latest time that a response may contain, in seconds since the epoch: the year 3000. A number above it is not in
/// seconds.
const TIME_MAX: i64 = 32_503_680_000;

/// The names of the fields of which a response had an unexpected type or form, and that therefore counted as absent.
#[derive(Debug, Default)]
pub(super) struct Unclear(Mutex<BTreeSet<&'static str>>);

impl Unclear {
    /// The names, sorted.
    pub(super) fn fields(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Reads a field with `read`, which returns `None` for a value that it does not understand.
    fn field<T>(&self, object: &Value, name: &'static str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = object.get(name).filter(|value| !value.is_null())?;
        let found = read(value);
        if found.is_none() {
            self.note(name);
        }
        found
    }

    fn note(&self, name: &'static str) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
            tracing::warn!(field = name, "field of a Linktree response not understood, treating it as absent");
        }
    }
}

/// The objects in which a resource may be: wrapped in `data`, or bare.
fn resources(body: &Value) -> impl Iterator<Item = &Value> {
    [body.get("data"), Some(body)].into_iter().flatten()
}

/// The subscription in a response, bare or wrapped; `None` without an id.
pub(super) fn subscription(body: &Value, unclear: &Unclear) -> Option<Subscription> {
    resources(body).find_map(|resource| Some(with_id(id(resource)?, resource, unclear)))
}

/// The subscription `id`, as the response to a call for exactly this one describes it: an id in it is not required.
pub(super) fn subscription_of(id: &SubscriptionId, body: &Value, unclear: &Unclear) -> Subscription {
    let resource = resources(body).find(|resource| resource.is_object());
    with_id(id.clone(), resource.unwrap_or(body), unclear)
}

/// The subscriptions of a page and the cursor of the next one; `None` if the response is no page.
///
/// Entries without an id are left out. A page of which no entry has one is no page: as an empty one, it would mean that
/// every subscription was deleted.
pub(super) fn page(body: &Value, unclear: &Unclear) -> Option<(Vec<Subscription>, Option<String>)> {
    let entries = body.get("data")?.as_array()?;
    let understood = |entry| Some(with_id(id(entry)?, entry, unclear));
    let subscriptions: Vec<Subscription> = entries.iter().filter_map(understood).collect();
    if subscriptions.len() < entries.len() {
        unclear.note("id");
    }
    let next = match body.get("next_cursor") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        // Without its cursor, the rest of the list would seem to be missing.
        Some(cursor) => Some(text_or_number(cursor)?),
    };
    (entries.is_empty() || !subscriptions.is_empty()).then_some((subscriptions, next.filter(|next| !next.is_empty())))
}

/// The account in a response, bare or wrapped; `None` without an id.
pub(super) fn account(body: &Value, unclear: &Unclear) -> Option<Account> {
    resources(body).find_map(|resource| {
        Some(Account {
            id: id(resource)?.0,
            username: unclear.field(resource, "username", text),
            plan: unclear.field(resource, "plan", text),
        })
    })
}

/// The signing secret in the response to a rotation, bare or wrapped.
pub(super) fn rotated_secret(body: &Value, unclear: &Unclear) -> Option<Secret> {
    resources(body).find_map(|resource| unclear.field(resource, "signing_secret", secret))
}

fn id(resource: &Value) -> Option<SubscriptionId> {
    text_or_number(resource.get("id")?).filter(|id| !id.is_empty()).map(SubscriptionId)
}

fn with_id(id: SubscriptionId, resource: &Value, unclear: &Unclear) -> Subscription {
    Subscription {
        id,
        url: unclear.field(resource, "url", text).unwrap_or_default(),
        events: unclear.field(resource, "events", events).unwrap_or_default(),
        status: unclear.field(resource, "status", status),
        created_at: unclear.field(resource, "created_at", time),
        failing_since: unclear.field(resource, "failing_since", time),
        disabled_at: unclear.field(resource, "disabled_at", time),
        disabled_reason: unclear.field(resource, "disabled_reason", text),
        signing_secret: unclear.field(resource, "signing_secret", secret),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn text_or_number(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn secret(value: &Value) -> Option<Secret> {
    value.as_str().filter(|secret| !secret.is_empty()).map(Secret::new)
}

fn events(value: &Value) -> Option<Vec<EventType>> {
    value.as_array()?.iter().map(|event| event.as_str().map(EventType::named)).collect()
}

fn status(value: &Value) -> Option<SubscriptionStatus> {
    serde_json::from_value(value.clone()).ok()
}

/// A time in seconds since the epoch, also from an ISO 8601 text.
fn time(value: &Value) -> Option<i64> {
    let seconds = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse::<Timestamp>().ok()?.as_second(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (0..=TIME_MAX).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A value of each JSON type and of the forms that other APIs use, including the right ones.
    fn values() -> Vec<Value> {
        let nested = json!({"value": "x", "id": 7, "data": [1, {"a": null}]});
        let texts =
            ["", "x", "active", "DISABLED", "2026-01-02T03:04:05Z", "2026-01-02", "9999-12-31T23:59:59Z", "1e3"];
        let numbers =
            [json!(0), json!(-1), json!(1_700_000_000), json!(1_700_000_000_000_i64), json!(1e300), json!(0.5)];
        let others =
            [json!(null), json!(true), json!(false), json!([]), json!({}), json!([[]]), json!(["a", 7]), nested];
        texts.iter().map(|text| json!(text)).chain(numbers).chain(others).chain([json!(u64::MAX)]).collect()
    }

    const FIELDS: [&str; 8] =
        ["url", "events", "status", "created_at", "failing_since", "disabled_at", "disabled_reason", "more"];

    fn whole() -> Value {
        json!({
            "id": "wh_1", "url": "https://x/", "events": ["link.created"], "status": "active",
            "created_at": 1_700_000_000, "failing_since": null, "signing_secret": "s3cret",
        })
    }

    #[test]
    fn whatever_an_assumed_field_is_the_id_and_the_secret_are_kept() {
        let mut cases = 0;
        for (field, value) in FIELDS.iter().flat_map(|field| values().into_iter().map(move |value| (field, value))) {
            let (mut odd, mut absent) = (whole(), whole());
            odd[*field] = value;
            absent.as_object_mut().unwrap().remove(*field);
            for resource in [odd, absent] {
                let shapes = [resource.clone(), json!({"data": resource}), json!({"data": resource, "meta": 7})];
                for body in shapes {
                    let unclear = Unclear::default();
                    let read = subscription(&body, &unclear).unwrap();
                    assert_eq!(
                        (read.id.0.as_str(), &read.signing_secret),
                        ("wh_1", &Some(Secret::new("s3cret"))),
                        "{body}"
                    );
                    assert!(read.created_at.is_none_or(|at| (0..=TIME_MAX).contains(&at)), "{body}");
                    assert!(unclear.fields().iter().all(|unclear| unclear == field), "{body}: {unclear:?}");
                    cases += 1;
                }
                let list = json!({"data": [resource, whole()], "next_cursor": null});
                assert_eq!(page(&list, &Unclear::default()).unwrap().0.len(), 2, "{list}");
            }
        }
        assert!(cases >= 1000, "{cases} cases");
    }

    #[test]
    fn a_field_of_another_type_or_form_counts_as_absent_and_is_named_once() {
        let unclear = Unclear::default();
        let mut body = whole();
        body["created_at"] = 1_700_000_000_000_i64.into();
        body["status"] = json!({"state": "active"});
        body["events"] = json!(["link.created", 7]);
        for _ in 0..2 {
            let read = subscription(&body, &unclear).unwrap();
            assert_eq!((read.created_at, read.status, read.events.len()), (None, None, 0));
        }
        assert_eq!(unclear.fields(), ["created_at", "events", "status"]);
        body["created_at"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(subscription(&body, &unclear).unwrap().created_at, Some(1_767_225_600));
    }

    #[test]
    fn an_id_is_required_and_may_be_a_number() {
        let id = |id: Value| subscription(&json!({"id": id}), &Unclear::default()).map(|known| known.id.0);
        assert_eq!((id("wh_1".into()), id(7.into())), (Some("wh_1".into()), Some("7".into())));
        for none in [json!(null), json!(""), json!(0.5), json!(true), json!({}), json!(["wh_1"])] {
            assert_eq!(id(none.clone()), None, "{none}");
        }
        assert_eq!(account(&json!({"id": 7, "plan": {}}), &Unclear::default()).unwrap().id, "7");
        assert_eq!(account(&json!({"user": "x"}), &Unclear::default()), None);
    }

    #[test]
    fn a_page_is_understood_only_if_nothing_can_be_missing_from_it_unnoticed() {
        let read = |body: Value| page(&body, &Unclear::default());
        assert_eq!(read(json!({"data": []})), Some((Vec::new(), None)));
        let (some, next) = read(json!({"data": [whole(), {"url": "x"}, 7], "next_cursor": 7})).unwrap();
        assert_eq!((some.len(), next.as_deref()), (1, Some("7")));
        for end in [json!(null), json!(""), json!(false)] {
            assert_eq!(read(json!({"data": [whole()], "next_cursor": end})).unwrap().1, None, "{end}");
        }
        for body in [
            json!([whole()]),
            json!({"webhooks": [whole()]}),
            json!({"data": whole()}),
            json!({"data": [{"url": "x"}]}),
            json!({"data": [whole()], "next_cursor": {}}),
            json!({"data": [whole()], "next_cursor": true}),
            json!(null),
        ] {
            assert_eq!(read(body.clone()), None, "{body}");
        }
    }
}

//! Feeds the parser with generated values: whatever the schema of a custom resource accepts must parse, and whatever
//! else an object contains must not cost its name.

use proptest::{collection, prelude::*, sample::select, string::string_regex};

use super::*;
use crate::api::{connection::LinktreeConnection, crds};

/// The schema of `field` of this kind.
fn schema(kind: &str, field: &str) -> Value {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let crd = serde_json::to_value(crd).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][field].clone()
}

/// Values that this schema accepts, apart from its CEL rules.
fn accepted(schema: &Value) -> BoxedStrategy<Value> {
    let value = match schema["type"].as_str() {
        _ if schema["enum"].is_array() => select(schema["enum"].as_array().unwrap().clone()).boxed(),
        _ if schema["x-kubernetes-int-or-string"] == true => {
            prop_oneof![any::<i64>().prop_map(Value::from), "[0-9]{1,18}(Mi|Gi|k)?".prop_map(Value::from)].boxed()
        }
        Some("string") => text(schema),
        Some("integer") => integer(schema),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("array") => {
            let most = schema["maxItems"].as_u64().unwrap_or(3).min(3);
            let least = schema["minItems"].as_u64().unwrap_or(0);
            let items = collection::vec(accepted(&schema["items"]), least as usize..=most as usize);
            items.prop_map(Value::Array).boxed()
        }
        Some("object") => object(schema),
        other => panic!("type {other:?}: {schema}"),
    };
    // The API server drops a null where the schema does not allow it.
    if schema["nullable"] == true { prop_oneof![4 => value, 1 => Just(Value::Null)].boxed() } else { value }
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    if let additional @ Value::Object(_) = &schema["additionalProperties"] {
        let entries = collection::btree_map("[a-z./-]{1,20}", accepted(additional), 0..3);
        return entries.prop_map(|entries| entries.into_iter().collect()).boxed();
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut whole = Just(json!({})).boxed();
    for (name, field) in schema["properties"].as_object().unwrap() {
        let value = accepted(field);
        let value = if required.iter().any(|required| required == name) {
            value.prop_map(Some).boxed()
        } else {
            proptest::option::of(value).boxed()
        };
        let name = name.clone();
        let with = move |(mut whole, value): (Value, Option<Value>)| {
            if let Some(value) = value {
                whole[name.as_str()] = value;
            }
            whole
        };
        whole = (whole, value).prop_map(with).boxed();
    }
    whole
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    if schema["format"] == "date-time" {
        return times(schema["pattern"].is_string());
    }
    let pattern = schema["pattern"].as_str().unwrap_or(r"[ -~é]{0,40}");
    let (least, most) = (schema["minLength"].as_u64().unwrap_or(0), schema["maxLength"].as_u64().unwrap_or(u64::MAX));
    let fits = move |text: &String| (least..=most).contains(&(text.chars().count() as u64));
    let texts = string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap();
    texts.prop_filter("a length that the schema accepts", fits).prop_map(Value::from).boxed()
}

/// Times that the API server accepts; `bounded`: where a pattern bounds the year.
fn times(bounded: bool) -> BoxedStrategy<Value> {
    let years = if bounded { 1000..=2999 } else { 0..=9999 };
    let time =
        (years, 1..=12, 1..=28, 0..=23, 0..=59, select(vec!["Z", ".5Z", ".123456789+02:00", "-23:59", "+00:00"]));
    let time = time.prop_map(|(year, month, day, hour, minute, zone)| {
        Value::from(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:59{zone}"))
    });
    let last = if bounded { "2999-12-31T23:59:59-23:59" } else { "9999-12-31T23:59:59Z" };
    prop_oneof![4 => time, 1 => Just(Value::from(last))].boxed()
}

fn integer(schema: &Value) -> BoxedStrategy<Value> {
    let bound = |name: &str| schema[name].as_f64().map(|bound| bound as i64);
    let widest =
        if schema["format"] == "int32" { i64::from(i32::MIN)..=i64::from(i32::MAX) } else { i64::MIN..=i64::MAX };
    let (least, most) = (bound("minimum").unwrap_or(*widest.start()), bound("maximum").unwrap_or(*widest.end()));
    prop_oneof![least..=most, Just(least), Just(most)].prop_map(Value::from).boxed()
}

fn object_of(kind: &str, spec: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "webhooks.linktree-operator.dev/v1alpha1", "kind": kind,
        "metadata": {"namespace": "marketing", "name": "links", "generation": 1}, "spec": spec, "status": status,
    })
}

/// A value that no schema of this version accepts at most places.
fn odd() -> impl Strategy<Value = Value> {
    let texts = ["Newer", "", "9999-12-31T23:59:59Z"].map(Value::from);
    let others =
        [json!(null), json!(true), json!(-1), json!(1e30), json!([]), json!([null]), json!({}), json!({"a": 1})];
    select([&texts[..], &others[..]].concat())
}

/// Replaces the value that `place` chooses, at any depth, and returns its path in the form of a [`FieldProblem`].
fn replace(value: &mut Value, path: String, place: &[prop::sample::Index], odd: Value) -> String {
    let Some((first, rest)) = place.split_first() else {
        *value = odd;
        return path;
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let name = fields.keys().nth(first.index(fields.len())).unwrap().clone();
            let path = format!("{path}.{name}");
            replace(&mut fields[&name], path, rest, odd)
        }
        Value::Array(items) if !items.is_empty() => {
            let index = first.index(items.len());
            replace(&mut items[index], format!("{path}[{index}]"), rest, odd)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            *value = odd;
            path
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_webhook_that_the_schema_accepts_parses(
        spec in accepted(&schema("LinktreeWebhook", "spec")),
        status in accepted(&schema("LinktreeWebhook", "status")),
    ) {
        let id = status["subscription"]["id"].as_str().map(str::to_owned);
        let read = read(object_of("LinktreeWebhook", &spec, &status));
        prop_assert_eq!(read.spec_problem(), None);
        let found = read.status.as_ref().and_then(|status| status.subscription.as_ref()?.id.clone());
        prop_assert_eq!(found, id);
        // The result does not matter: CEL rules may reject the spec.
        let _ = crate::operator::webhook::spec::Spec::parse(&read);
    }

    #[test]
    fn a_connection_that_the_schema_accepts_parses(
        spec in accepted(&schema("LinktreeConnection", "spec")),
        status in accepted(&schema("LinktreeConnection", "status")),
    ) {
        let object = object_of("LinktreeConnection", &spec, &status);
        let read: Guarded<LinktreeConnection> = serde_json::from_value(object).unwrap();
        prop_assert_eq!(read.spec_problem(), None);
        prop_assert!(read.status.is_some());
    }

    #[test]
    fn an_odd_value_anywhere_is_left_out_or_named(
        spec in accepted(&schema("LinktreeWebhook", "spec")),
        place in collection::vec(any::<prop::sample::Index>(), 0..6),
        odd in odd(),
    ) {
        let mut spec = spec;
        let path = replace(&mut spec, "spec".to_owned(), &place, odd);
        let read = read(object_of("LinktreeWebhook", &spec, &json!({"subscription": {"state": "Enabled", "id": "wh_1"}})));
        prop_assert_eq!((read.metadata.name.as_deref(), id(&read)), (Some("links"), Some("wh_1")));
        if let Some(problem) = read.spec_problem() {
            let related = is_within(&problem.field, &path) || is_within(&path, &problem.field);
            prop_assert!(related, "{} was replaced, and {} is named", path, problem.field);
        }
    }
}

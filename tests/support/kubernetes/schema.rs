//! Admission of a custom resource: prunes unknown fields, sets defaults, and rejects violations of the schema or its
//! rules. A rule that this evaluator does not support admits everything, so the operator meets more objects than with a
//! real API server, not fewer.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use cel::{Context, Program};
use linktree_operator::api::crds;
use regex::Regex;
use serde_json::{Map, Value};

use super::{status_error::StatusError, store::Key};

static SCHEMAS: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    let json = crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
    json.map(|crd| {
        let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        (crd["spec"]["names"]["kind"].as_str().unwrap().to_owned(), schema)
    })
    .collect()
});
/// All rules of all schemas that compile.
static RULES: LazyLock<HashMap<String, Program>> = LazyLock::new(|| {
    let mut found = HashMap::new();
    SCHEMAS.values().for_each(|schema| find_rules(schema, &mut found));
    found
});

fn find_rules(schema: &Value, found: &mut HashMap<String, Program>) {
    match schema {
        Value::Object(fields) => {
            if let Some(rule) = fields.get("rule").and_then(Value::as_str)
                && let Ok(program) = Program::compile(rule)
            {
                found.insert(rule.to_owned(), program);
            }
            fields.values().for_each(|below| find_rules(below, found));
        }
        Value::Array(items) => items.iter().for_each(|below| find_rules(below, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of a kind, from its custom resource definition.
pub fn of(kind: &str) -> Option<&'static Value> {
    SCHEMAS.get(kind)
}

/// Prunes, defaults and validates `object`; `before` is the object that it replaces.
pub fn admit(key: &Key, object: &mut Value, before: Option<&Value>) -> Result<(), StatusError> {
    let Some(schema) = of(key.kind.kind) else { return Ok(()) };
    if before.is_some_and(|before| before == object) {
        return Ok(());
    }
    let mut problems = Vec::new();
    check(schema, object, before, "", &mut problems);
    match problems.as_slice() {
        [] => Ok(()),
        problems => Err(StatusError::invalid(key, &problems.join("; "))),
    }
}

fn check(schema: &Value, value: &mut Value, before: Option<&Value>, path: &str, problems: &mut Vec<String>) {
    // Validation ratcheting: an unchanged value stays valid.
    if before == Some(value) {
        return;
    }
    if !has_type(schema, value) {
        problems.push(format!("{path}: must be of type {}", schema["type"]));
        return;
    }
    let mut complain = |what: String| problems.push(format!("{path}: {what}"));
    match value {
        Value::String(text) => text_problems(schema, text, &mut complain),
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            if schema["minimum"].as_f64().is_some_and(|minimum| number < minimum) {
                complain(format!("should be greater than or equal to {}", schema["minimum"]));
            }
            if schema["maximum"].as_f64().is_some_and(|maximum| number > maximum) {
                complain(format!("should be less than or equal to {}", schema["maximum"]));
            }
        }
        Value::Array(items) => check_items(schema, items, before, path, problems),
        Value::Object(fields) => check_fields(schema, fields, before, path, problems),
        Value::Null | Value::Bool(_) => {}
    }
    if problems.is_empty() {
        problems.extend(broken_rules(schema, value, before).map(|message| format!("{path}: {message}")));
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match (schema["type"].as_str(), value) {
        (_, Value::Null) => schema["nullable"] == true,
        (Some("object"), value) => value.is_object(),
        (Some("array"), value) => value.is_array(),
        (Some("string"), value) => value.is_string(),
        (Some("boolean"), value) => value.is_boolean(),
        // The server reads a number beyond 64 bits as a float, which is no integer.
        (Some("integer"), value) => {
            value.is_i64() || value.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() < 9e15)
        }
        (Some("number"), value) => value.is_number(),
        (Some(_) | None, _) => true,
    }
}

fn text_problems(schema: &Value, text: &str, complain: &mut impl FnMut(String)) {
    let length = text.chars().count() as u64;
    if schema["maxLength"].as_u64().is_some_and(|most| length > most) {
        complain(format!("may not be more than {} bytes", schema["maxLength"]));
    }
    if schema["minLength"].as_u64().is_some_and(|least| length < least) {
        complain(format!("should be at least {} chars long", schema["minLength"]));
    }
    if schema["pattern"].as_str().is_some_and(|pattern| !Regex::new(pattern).unwrap().is_match(text)) {
        complain(format!("should match {}", schema["pattern"]));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(&text.into())) {
        complain(format!("supported values: {}", schema["enum"]));
    }
    if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
        complain("must be a date-time".to_owned());
    }
}

fn check_items(schema: &Value, items: &mut [Value], before: Option<&Value>, path: &str, problems: &mut Vec<String>) {
    if schema["maxItems"].as_u64().is_some_and(|most| items.len() as u64 > most) {
        problems.push(format!("{path}: must have at most {} items", schema["maxItems"]));
    }
    if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
        problems.push(format!("{path}: should have at least {} items", schema["minItems"]));
    }
    let keys: Vec<&str> =
        schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let key = |item: &Value| keys.iter().map(|key| item[*key].to_string()).collect::<Vec<_>>().join(",");
    let distinct = match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => items.iter().map(key).collect::<BTreeSet<_>>().len(),
        Some("set") => items.iter().map(Value::to_string).collect::<BTreeSet<_>>().len(),
        Some(_) | None => items.len(),
    };
    if distinct < items.len() {
        problems.push(format!("{path}: Duplicate value"));
    }
    for (n, item) in items.iter_mut().enumerate() {
        // Items of a map are compared with the old item of the same key; items of other lists have no old value.
        let old = before
            .and_then(Value::as_array)
            .and_then(|old| old.iter().find(|old| !keys.is_empty() && key(old) == key(item)));
        check(&schema["items"], item, old, &format!("{path}[{n}]"), problems);
    }
}

fn check_fields(
    schema: &Value,
    fields: &mut Map<String, Value>,
    before: Option<&Value>,
    path: &str,
    problems: &mut Vec<String>,
) {
    let Some(known) = schema["properties"].as_object() else {
        for (name, value) in fields.iter_mut().filter(|_| schema["additionalProperties"].is_object()) {
            check(
                &schema["additionalProperties"],
                value,
                before.and_then(|old| old.get(name)),
                &format!("{path}.{name}"),
                problems,
            );
        }
        return;
    };
    let is_root = path.is_empty();
    let meta = |name: &str| is_root && matches!(name, "apiVersion" | "kind" | "metadata");
    if schema["x-kubernetes-preserve-unknown-fields"] != true {
        fields.retain(|name, _| known.contains_key(name) || meta(name));
    }
    for (name, schema) in known.iter().filter(|(name, _)| !meta(name)) {
        if let Some(default) = schema
            .get("default")
            .filter(|_| fields.get(name).is_none_or(|it| it.is_null() && schema["nullable"] != true))
        {
            fields.insert(name.clone(), default.clone());
        } else if fields.get(name).is_some_and(Value::is_null) && schema["nullable"] != true {
            fields.remove(name);
        }
        if let Some(value) = fields.get_mut(name) {
            check(schema, value, before.and_then(|old| old.get(name)), &format!("{path}.{name}"), problems);
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            problems.push(format!("{path}.{name}: Required value"));
        }
    }
}

/// The messages of the rules that `value` violates. A rule on `oldSelf` holds if there is no old value.
fn broken_rules<'a>(schema: &'a Value, value: &Value, before: Option<&Value>) -> impl Iterator<Item = String> + 'a {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let broken = rules.filter(|rule| {
        let text = rule["rule"].as_str().unwrap();
        let is_transition = text.contains("oldSelf");
        let Some(program) = RULES.get(text).filter(|_| !is_transition || before.is_some()) else { return false };
        let mut context = Context::default();
        let added = context.add_variable("self", value).is_ok() && context.add_variable("oldSelf", before).is_ok();
        added && program.execute(&context) == Ok(cel::Value::Bool(false))
    });
    let messages: Vec<String> = broken.map(|rule| rule["message"].as_str().unwrap_or("a rule").to_owned()).collect();
    messages.into_iter()
}

//! Mutations of a custom resource's spec, derived from its schema: each field removed, emptied, of another type, at and
//! beyond its limits, or with unusual characters.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::kubernetes::schema;

/// A field of the spec and its new value; `None` removes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    /// A JSON pointer below the object.
    pub path: String,
    pub value: Option<Value>,
}

/// Strings that often cause errors.
pub const HOSTILE: &[&str] = &[
    "",
    " ",
    "a b",
    "ünïcödé-🦀",
    "../../../kube-system/secrets/x",
    "x?watch=true&y=",
    "x%2f..%2fy",
    "line\nbreak\r\n\u{1b}[31m",
    "\u{0}nul\u{7f}",
    "{{ . }}${HOME}$(id)",
    "-",
    "\"},\"hostPID\":true,{\"",
    "\u{202e}right-to-left",
];

impl Mutation {
    pub fn apply(&self, object: &mut Value) {
        let Some((parent, name)) = self.path.rsplit_once('/') else { return };
        let Some(parent) = object.pointer_mut(parent) else { return };
        match (parent, &self.value) {
            (Value::Object(fields), Some(value)) => drop(fields.insert(name.to_owned(), value.clone())),
            (Value::Object(fields), None) => drop(fields.remove(name)),
            (Value::Array(items), value) => {
                let Some(at) = name.parse::<usize>().ok().filter(|at| *at < items.len()) else { return };
                match value {
                    Some(value) => items[at] = value.clone(),
                    None => drop(items.remove(at)),
                }
            }
            (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {}
        }
    }
}

/// All mutations of `object`'s spec.
pub fn all(kind: &str, object: &Value) -> Vec<Mutation> {
    let mut found = Vec::new();
    walk(&schema::of(kind).unwrap()["properties"]["spec"], &object["spec"], "/spec", &mut found);
    found
}

/// Draws one to three mutations.
pub fn some(all: &[Mutation], random: &mut StdRng) -> Vec<Mutation> {
    let count = random.random_range(1..=3);
    all.choose_multiple(random, count).cloned().collect()
}

fn walk(schema: &Value, value: &Value, path: &str, found: &mut Vec<Mutation>) {
    let mut add = |value: Value| found.push(Mutation { path: path.to_owned(), value: Some(value) });
    for odd in [Value::Null, json!(7), json!("x"), json!([]), json!({}), json!(true), json!(1.5)] {
        add(odd);
    }
    match schema["type"].as_str() {
        Some("string") => strings(schema, &mut add),
        Some("integer") => {
            let limits = [&schema["minimum"], &schema["maximum"]].map(Value::as_i64);
            limits
                .into_iter()
                .flatten()
                .flat_map(|limit| [limit - 1, limit, limit + 1])
                .for_each(|number| add(json!(number)));
            [i64::MIN, -1, 0, 1, i64::MAX].into_iter().for_each(|number| add(json!(number)));
        }
        Some("boolean") => [true, false].into_iter().for_each(|flag| add(json!(flag))),
        Some(_) | None => {}
    }
    found.push(Mutation { path: path.to_owned(), value: None });
    if let Some(known) = schema["properties"].as_object() {
        found.push(Mutation { path: format!("{path}/unknownField"), value: Some(json!({"a": [1]})) });
        for (name, below) in known {
            walk(below, &value[name], &format!("{path}/{name}"), found);
        }
    }
    if schema["items"].is_object() {
        lists(schema, value, path, found);
    }
}

fn strings(schema: &Value, add: &mut impl FnMut(Value)) {
    schema["enum"].as_array().into_iter().flatten().for_each(|word| add(word.clone()));
    if let Some(most) = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok()) {
        [most, most + 1].into_iter().for_each(|length| add(json!("a".repeat(length))));
    }
    HOSTILE.iter().for_each(|text| add(json!(text)));
    // Valid values of some fields.
    for text in [
        "https://other.example.com/x",
        "http://a.svc:1/?q",
        "64Mi",
        "9Ti",
        "63Mi",
        "hooks2.example.com",
        "wh_unknown",
        "event.type == 'x'",
        "event.(",
    ] {
        add(json!(text));
    }
}

fn lists(schema: &Value, value: &Value, path: &str, found: &mut Vec<Mutation>) {
    let items = value.as_array().cloned().unwrap_or_default();
    let mut add = |value: Vec<Value>| found.push(Mutation { path: path.to_owned(), value: Some(Value::Array(value)) });
    add(items.iter().rev().cloned().collect());
    if let Some(first) = items.first() {
        add(vec![first.clone(), first.clone()]);
        let most = usize::try_from(schema["maxItems"].as_u64().unwrap_or(20)).unwrap();
        let numbered = |n: usize| match first {
            Value::Object(_) => {
                let mut item = first.clone();
                item["name"] = format!("n{n}").into();
                item
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                json!(format!("n{n}"))
            }
        };
        [most, most + 1].into_iter().for_each(|count| add((0..count).map(numbered).collect()));
    }
    for (n, item) in items.iter().enumerate() {
        walk(&schema["items"], item, &format!("{path}/{n}"), found);
    }
}

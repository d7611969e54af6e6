//! Redaction as a table, and against a parser as properties.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn redact(body: &[u8]) -> Vec<u8> {
    let names = ["ip_address", "geo_city"].map(String::from);
    Redaction::new(&names).apply(Bytes::copy_from_slice(body)).to_vec()
}

#[test]
fn any_value_is_replaced_and_all_other_bytes_stay() {
    for (body, expected) in [
        (r#"{"ip_address":"203.0.113.9"}"#, r#"{"ip_address":"[redacted]"}"#),
        (r#"{ "ip_address" : 7 , "n": 1.10 }"#, r#"{ "ip_address" : "[redacted]", "n": 1.10 }"#),
        (r#"{"a":[{"geo_city":{"x":["}",1]}},2]}"#, r#"{"a":[{"geo_city":"[redacted]"},2]}"#),
        (r#"{"geo_city":"a\"},","b":"c"}"#, r#"{"geo_city":"[redacted]","b":"c"}"#),
        (r#"{"geo_city":null,"ip_address":[]}"#, r#"{"geo_city":"[redacted]","ip_address":"[redacted]"}"#),
        (r#"{"ip_address":1,"ip_address":2}"#, r#"{"ip_address":"[redacted]","ip_address":"[redacted]"}"#),
        (r#"{"ip\u005faddress":"203.0.113.9"}"#, r#"{"ip\u005faddress":"[redacted]"}"#),
    ] {
        assert_eq!(String::from_utf8(redact(body.as_bytes())).unwrap(), expected, "{body}");
    }
}

#[test]
fn other_fields_and_strings_stay() {
    for body in [
        r#"{"title":"ip_address","a":["geo_city"]}"#,
        r#"{"my_ip_address":"x","IP_ADDRESS":"x","ip_address ":"x"}"#,
        r#"{"t":"\"ip_address\":1"}"#,
        r#""ip_address""#,
        "ip_address: 7",
        "",
        "\"",
        "\\",
    ] {
        assert_eq!(String::from_utf8(redact(body.as_bytes())).unwrap(), body, "{body}");
    }
}

#[test]
fn broken_json_is_redacted_as_far_as_it_can_be_parsed() {
    for (body, expected) in [
        (r#"{"ip_address":"203.0.113.9"#, r#"{"ip_address":"[redacted]""#),
        (r#"{"ip_address":"#, r#"{"ip_address":"[redacted]""#),
        (r#"{"ip_address":"\"#, r#"{"ip_address":"[redacted]""#),
        (r#"}]"geo_city": 7"#, r#"}]"geo_city": "[redacted]""#),
    ] {
        assert_eq!(String::from_utf8(redact(body.as_bytes())).unwrap(), expected, "{body}");
    }
}

#[test]
fn a_body_without_such_fields_is_not_copied() {
    let body = Bytes::from_static(br#"{"data":{"title":"\u00dc"}}"#);
    let kept = Redaction::new(&["ip_address".to_owned()]).apply(body.clone());
    assert_eq!(kept.as_ptr(), body.as_ptr());
}

/// The reference: redaction of the parsed tree.
fn redact_tree(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "ip_address" | "geo_city" => *value = "[redacted]".into(),
                    _ => redact_tree(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact_tree),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["ip_address|geo_city|a|\"|\\\\|:|\\{", ".{0,6}"];
    let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), text.clone().prop_map(Value::from)];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..4).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn a_parser_agrees(tree in tree(), pretty: bool) {
        let body = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
        let mut expected = tree;
        redact_tree(&mut expected);
        prop_assert_eq!(serde_json::from_slice::<Value>(&redact(&body)).unwrap(), expected);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(body in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b':')], 0..64)) {
        let mut with_name = br#""ip_address":"#.to_vec();
        with_name.extend(&body);
        redact(&body);
        redact(&with_name);
    }
}

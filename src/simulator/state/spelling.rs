//! Spells a JSON value in one of many ways, chosen by a seed: spaces, the order of fields, escapes, `1.0` for 1. All mean
//! the same, but only one is what a serializer writes. A receiver that parses a body and serializes it again before it
//! verifies the signature therefore fails here, as it would with Linktree.

use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;

/// The way to spell one body.
#[derive(Clone, Copy, Debug)]
struct Style {
    /// The space after a colon, and after a comma or an opening bracket.
    space: &'static str,
    escapes_slash: bool,
    escapes_non_ascii: bool,
    whole_numbers_as_fractions: bool,
    shuffles_fields: bool,
}

impl Style {
    fn of(random: &mut StdRng) -> Self {
        Style {
            space: ["", " ", "\n  "][random.random_range(0..3)],
            escapes_slash: random.random(),
            escapes_non_ascii: random.random(),
            whole_numbers_as_fractions: random.random(),
            shuffles_fields: random.random(),
        }
    }
}

/// The body of a delivery with these fields, in their order unless the style shuffles them, and never as a serializer
/// writes it. Of the values, only those in `data` are spelled: the type and the timestamp are documented to the byte.
pub(super) fn body(event_type: &str, mut data: Value, timestamp: i64, random: &mut StdRng) -> String {
    let style = Style::of(random);
    // Whether Linktree sends a field that is not set as null or not at all is unknown.
    if let Some(fields) = data.as_object_mut()
        && fields.get("thumbnail_url") == Some(&Value::Null)
        && random.random()
    {
        fields.remove("thumbnail_url");
    }
    let mut fields =
        [("type", plain(event_type)), ("data", spelled(&data, style, random)), ("timestamp", timestamp.to_string())];
    if style.shuffles_fields {
        fields.shuffle(random);
    }
    let body = object(fields.map(|(name, value)| (plain(name), value)), style);
    // With the plainest style, a space distinguishes it.
    if style.space.is_empty() { body.replacen('{', "{ ", 1) } else { body }
}

fn spelled(value: &Value, style: Style, random: &mut StdRng) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(name, value)| (string(name, style), spelled(value, style, random))).collect();
            if style.shuffles_fields {
                fields.shuffle(random);
            }
            object(fields, style)
        }
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| spelled(value, style, random)).collect();
            list('[', &values, ']', style)
        }
        Value::String(text) => string(text, style),
        Value::Number(number) if style.whole_numbers_as_fractions && (number.is_u64() || number.is_i64()) => {
            format!("{number}.0")
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => value.to_string(),
    }
}

fn object(fields: impl IntoIterator<Item = (String, String)>, style: Style) -> String {
    let space = if style.space.is_empty() { "" } else { " " };
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("{name}:{space}{value}")).collect();
    list('{', &fields, '}', style)
}

fn list(open: char, items: &[String], close: char, Style { space, .. }: Style) -> String {
    if items.is_empty() {
        return format!("{open}{close}");
    }
    format!("{open}{space}{}{space}{close}", items.join(&format!(",{space}")))
}

fn plain(text: &str) -> String {
    Value::from(text).to_string()
}

fn string(text: &str, style: Style) -> String {
    let mut spelled = String::new();
    for character in plain(text).chars() {
        match character {
            '/' if style.escapes_slash => spelled.push_str("\\/"),
            _ if character.is_ascii() || !style.escapes_non_ascii => spelled.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    spelled.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    spelled
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde_json::json;

    use super::*;

    fn bodies() -> Vec<String> {
        let data = json!({
            "link_id": "lnk_1", "title": "Caf\u{e9} \"\u{1f600}\"\n", "url": "https://example.com/a", "position": 3,
            "thumbnail_url": null, "more": [1, -2, 1.5, true, null, {}, []],
        });
        let body = |seed| body("link.updated", data.clone(), 1_700_000_000, &mut StdRng::seed_from_u64(seed));
        (0..200).map(body).collect()
    }

    #[test]
    fn every_spelling_means_the_same_and_none_is_a_serializers() {
        for body in bodies() {
            let value: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (&value["type"], &value["timestamp"]),
                (&json!("link.updated"), &json!(1_700_000_000)),
                "{body}"
            );
            let data = &value["data"];
            assert_eq!(data["title"], "Caf\u{e9} \"\u{1f600}\"\n", "{body}");
            assert_eq!(data["position"].as_f64(), Some(3.0), "{body}");
            assert_eq!(data["url"], "https://example.com/a", "{body}");
            assert!(data.get("thumbnail_url").is_none_or(Value::is_null), "{body}");
            for again in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
                assert_ne!(again, body);
            }
        }
    }

    #[test]
    fn each_variation_occurs_and_a_seed_repeats_it() {
        let all = bodies();
        assert_eq!(all, bodies());
        for variation in [
            "\": ",
            "{\n  ",
            "\\u00e9",
            "\\ud83d\\ude00",
            "Caf\u{e9}",
            "\\/",
            "https://",
            "3.0",
            "thumbnail_url",
            "{ \"data\"",
        ] {
            let count = all.iter().filter(|body| body.contains(variation)).count();
            assert!((1..200).contains(&count), "{variation:?}: {count} of 200");
        }
    }
}

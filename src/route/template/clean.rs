//! Cleans the event's data for a template, as Linktree's guidance for its payloads recommends: removes HTML tags from
//! text and rejects a URL that is neither http(s) nor a contact
//! (mailto, tel, sms), which runs no code. Other formats forward the event unchanged.

use serde_json::Value;
use url::Url;

use crate::linktree::json;

/// Cleans all of `data`, at any depth.
///
/// # Errors
/// If a field has a URL of another kind; the message names the field.
pub(super) fn clean(data: &mut Value) -> Result<(), String> {
    match data {
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, value)| field(name, value)),
        Value::Array(values) => values.iter_mut().try_for_each(clean),
        Value::String(text) => {
            *text = without_tags(text);
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn field(name: &str, value: &mut Value) -> Result<(), String> {
    let address = name == "url" || name.ends_with("_url");
    let is_text = |text: &&str| address && json::written(text).is_none();
    let Some(text) = value.as_str().filter(is_text) else { return clean(value) };
    // An empty value means that the event has no URL.
    if text.is_empty() || is_web_address(text) || is_contact(text) {
        return Ok(());
    }
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(64).collect();
    Err(format!("data.{shown} is not an http(s), mailto, tel or sms URL"))
}

/// Whether `text` is a URL that opens a message or a call. A subject often contains spaces.
fn is_contact(text: &str) -> bool {
    let plain = !text.contains(|c: char| c.is_control() || matches!(c, '<' | '>' | '"' | '\\'));
    plain && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "mailto" | "tel" | "sms"))
}

fn is_web_address(text: &str) -> bool {
    let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '\\'));
    plain && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// Removes everything that a browser could parse as a tag, a comment or a declaration. A `<` that does not begin one,
/// as in `a < b`, stays. Removing nested tags does not form new ones.
fn without_tags(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        clean.push_str(before);
        if from[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            // A `<` before the tag could form a new tag with the text after it.
            clean.truncate(clean.trim_end_matches('<').len());
            rest = from.find('>').map_or("", |end| &from[end + 1..]);
        } else {
            clean.push('<');
            rest = &from[1..];
        }
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_removed_and_all_other_text_stays() {
        for (text, expected) in [
            ("Summer <b>Sale</b>", "Summer Sale"),
            ("<script>alert(1)</script>", "alert(1)"),
            ("a < b, 3 <3 <", "a < b, 3 <3 <"),
            ("<<b>script>x", "script>x"),
            ("<<<i>img src=x>", "img src=x>"),
            ("<img src=x onerror=alert(1)", ""),
            ("<!-- x -->y<?php z ?>", "y"),
            ("größer <ü>", "größer <ü>"),
        ] {
            assert_eq!(without_tags(text), expected, "{text}");
            assert_eq!(without_tags(expected), expected, "clean is clean");
        }
    }

    #[test]
    fn urls_are_http_or_contacts_or_rejected() {
        for good in [
            "https://shop.example/a?b=c#d",
            "http://a.example",
            "",
            "mailto:hi@brand.example?subject=Hello there",
            "MAILTO:hi@brand.example",
            "tel:+61-3-5550-1234",
            "sms:+61355501234?body=Hi",
        ] {
            assert_eq!(clean(&mut json!({"url": good, "deep": [{"avatar_url": good}]})), Ok(()), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            " javascript:x",
            "java\nscript:x",
            "data:text/html,x",
            "ftp://a",
            "//a.example",
            "https://",
            "https://a/\"onclick=",
            "http://a/ b",
            "no address",
            "mailto:a@b.example?subject=<script>",
            "tel:1\"onclick=",
            "mail\nto:a@b.example",
        ] {
            let rejected = clean(&mut json!({"thumbnail_url": bad})).unwrap_err();
            assert_eq!(rejected, "data.thumbnail_url is not an http(s), mailto, tel or sms URL", "{bad}");
        }
    }
}

//! Escapes values in a JSON template for their position: inside quotes a value becomes part of the string, outside it
//! becomes a JSON value of its own. No value can end the string that contains it, or change the document's structure.

use minijinja::Value;
use serde::de::IgnoredAny;

use crate::linktree::json::with_written_numbers;

/// Marks the start of a value in the rendered text until [`resolve`] knows its position. Both marks are from Unicode's
/// private use area: templates must not contain them, and in values they are written as escapes.
pub(super) const OPEN: char = '\u{E000}';
/// Marks the end of a value; see [`OPEN`].
pub(super) const CLOSE: char = '\u{E001}';

/// Writes `value` as JSON between the marks.
pub(super) fn mark(value: &Value) -> Result<String, minijinja::Error> {
    let json = serde_json::to_string(value).map_err(|_| {
        minijinja::Error::new(minijinja::ErrorKind::BadSerialization, "a value cannot be written as JSON")
    })?;
    Ok(format!("{OPEN}{}{CLOSE}", with_written_numbers(&json).replace(OPEN, r"\ue000").replace(CLOSE, r"\ue001")))
}

/// Replaces each marked value by the JSON text for its position, inside or outside quotes.
///
/// # Errors
/// If the result is not JSON.
pub(super) fn resolve(rendered: &str) -> Result<String, String> {
    let mut resolved = String::with_capacity(rendered.len());
    let mut quoted = false;
    for (index, part) in rendered.split(OPEN).enumerate() {
        // The part before the first mark is text.
        let (value, text) = if index == 0 { ("", part) } else { part.split_once(CLOSE).unwrap_or((part, "")) };
        if quoted {
            resolved.push_str(&inside_quotes(value)?);
        } else {
            resolved.push_str(value);
        }
        quoted = ends_quoted(text, quoted);
        resolved.push_str(text);
    }
    match serde_json::from_str::<IgnoredAny>(&resolved) {
        Ok(IgnoredAny) => Ok(resolved),
        Err(error) => Err(format!("the rendered body is not JSON: line {}, column {}", error.line(), error.column())),
    }
}

/// Converts a JSON value for use inside a string: a string loses its quotes, any other value becomes its JSON text.
fn inside_quotes(value: &str) -> Result<String, String> {
    if let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return Ok(inner.to_owned());
    }
    let quoted = serde_json::to_string(value).map_err(|_| "a value cannot be written as JSON".to_owned())?;
    Ok(quoted.trim_matches('"').to_owned())
}

/// Whether `text` ends inside a JSON string; `quoted` says whether it begins inside one.
fn ends_quoted(text: &str, mut quoted: bool) -> bool {
    let mut escaped = false;
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    quoted
}

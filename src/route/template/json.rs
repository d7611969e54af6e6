//! Values in a JSON template, escaped by where they stand: between quotes a value becomes part of the string, elsewhere
//! it becomes a JSON value of its own. No value can end the string it stands in, or bring structure of its own.

use minijinja::Value;
use serde::de::IgnoredAny;

/// What a value is wrapped in until it is known where it stands. They are of the private use area: templates must not
/// hold them, and in values they are written as escapes.
pub(super) const OPEN: char = '\u{E000}';
pub(super) const CLOSE: char = '\u{E001}';

/// `value` as JSON, wrapped.
pub(super) fn mark(value: &Value) -> Result<String, minijinja::Error> {
    let json = serde_json::to_string(value).map_err(|_| {
        minijinja::Error::new(minijinja::ErrorKind::BadSerialization, "a value cannot be written as JSON")
    })?;
    Ok(format!("{OPEN}{}{CLOSE}", json.replace(OPEN, r"\ue000").replace(CLOSE, r"\ue001")))
}

/// Puts each wrapped value in as its place asks for.
///
/// # Errors
/// When what comes out is not JSON.
pub(super) fn resolve(rendered: &str) -> Result<String, String> {
    let mut resolved = String::with_capacity(rendered.len());
    let mut quoted = false;
    for (index, part) in rendered.split(OPEN).enumerate() {
        // Before the first mark there is only text.
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
        Err(error) => Err(format!("the template did not make JSON: line {}, column {}", error.line(), error.column())),
    }
}

/// A JSON value as part of a string: a string without its quotes, anything else as its JSON text.
fn inside_quotes(value: &str) -> Result<String, String> {
    if let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return Ok(inner.to_owned());
    }
    let quoted = serde_json::to_string(value).map_err(|_| "a value cannot be written as JSON".to_owned())?;
    Ok(quoted.trim_matches('"').to_owned())
}

/// Whether the template's own text ends inside a string.
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

//! Templates: request bodies written by a sink's owner, filled with the event's values. The operator compiles them to
//! report mistakes on the custom resource; the receiver compiles and renders them. Pure and bounded.
//!
//! The template is trusted; the values are not. Values are therefore escaped for the content type, and in JSON for
//! their position ([`json`]). HTML tags are removed from text, and a URL that could run code is rejected ([`clean`]).

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter};
use url::form_urlencoded;

use super::{complexity::Complexity, deep_stack, sink::TemplateSource};
use crate::linktree::json::{with_written_numbers, without_marks};

mod clean;
mod json;
mod names;

/// The name under which the template engine stores the only template of an environment. It appears in no message.
const NAME: &str = "body";
/// Longest template source, in bytes.
const SOURCE_MAX: usize = 64 * 1024;
/// Maximum number of steps of one rendering. A template with a hundred values takes fewer than a thousand.
const FUEL: u64 = 50_000;
/// Largest rendered body, in bytes.
const RENDERED_MAX: usize = 1024 * 1024;
/// Headers that a template cannot set, because they belong to the connection or identify the sender.
const RESERVED: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
const RESERVED_PREFIXES: [&str; 3] = ["ce-", "proxy-", "webhook-"];

/// Kinds of errors whose message quotes only the template, never a value of an event, so that it can be shown.
const OF_THE_TEMPLATE: [ErrorKind; 4] =
    [ErrorKind::SyntaxError, ErrorKind::UnknownFilter, ErrorKind::UnknownFunction, ErrorKind::UnknownTest];

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    escaping: Escaping,
    header: HeaderMap,
}

/// How values are escaped; the template's content type decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escaping {
    Json,
    Form,
    Html,
    None,
}

/// A mistake in a sink's template: the invalid field of the custom resource, and the problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct TemplateError {
    pub field: &'static str,
    pub problem: String,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// A [`TemplateError`] that names the invalid field and, for the body, the line.
    pub fn compile(source: &TemplateSource) -> Result<Self, TemplateError> {
        if source.body.len() > SOURCE_MAX {
            return Err(body(format!("is longer than {SOURCE_MAX} bytes")));
        }
        Complexity::of_template(&source.body).map_err(|problem| body(format!("is too complex: {problem}")))?;
        deep_stack::run(|| Template::parse(source)).unwrap_or_else(|| Err(body("cannot be parsed".to_owned())))
    }

    fn parse(source: &TemplateSource) -> Result<Self, TemplateError> {
        let escaping = Escaping::of(&source.content_type);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(move |_| escaping.auto_escape());
        environment.set_formatter(move |out, state, value| escaping.write(out, state, value));
        environment.remove_filter("safe");
        if source.body.contains([json::OPEN, json::CLOSE]) {
            return Err(body(
                "contains a character of the private use area (U+E000 or U+E001): leave it out".to_owned(),
            ));
        }
        environment
            .add_template_owned(NAME, source.body.clone())
            .map_err(|error| body(format!("does not compile: {}", explain(&error))))?;
        let template = environment.get_template(NAME).map_err(|error| body(explain(&error)))?;
        if let Some(unknown) = template.undeclared_variables(false).into_iter().filter(|name| !is_known(name)).min() {
            return Err(body(format!("uses the unknown variable {unknown}: the only variable is event")));
        }
        if let Some(unknown) = names::unknown(&template) {
            return Err(body(format!("does not compile: {unknown}")));
        }
        Ok(Template { environment, escaping, header: header(source)? })
    }

    /// The headers to send with the rendered body.
    #[must_use]
    pub fn header(&self) -> &HeaderMap {
        &self.header
    }

    /// Renders the body for `event`, an object with untrusted `data`.
    ///
    /// # Errors
    /// If a field that the template uses is missing, a URL of the event is not allowed, or the result is not valid for
    /// the content type. The message contains no value of the event.
    pub fn render(&self, mut event: serde_json::Value) -> Result<String, String> {
        if let Some(data) = event.get_mut("data") {
            clean::clean(data)?;
        }
        let context = minijinja::context! { event => Value::from(minijinja::value::Serde(&event)) };
        let template = self.environment.get_template(NAME).map_err(|error| explain(&error))?;
        let rendered = template.render(context).map_err(|error| explain(&error))?;
        let body = match self.escaping {
            Escaping::Json => json::resolve(&rendered)?,
            Escaping::Html => without_controls(rendered),
            Escaping::Form | Escaping::None => rendered,
        };
        let body = without_marks(body);
        if body.len() > RENDERED_MAX { Err("the rendered body is larger than 1 MiB".to_owned()) } else { Ok(body) }
    }
}

impl Escaping {
    fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => Escaping::Form,
            "text/html" | "text/xml" | "application/xml" => Escaping::Html,
            json if json == "application/json" || json.ends_with("+json") => Escaping::Json,
            xml if xml.ends_with("+xml") => Escaping::Html,
            _ => Escaping::None,
        }
    }

    fn auto_escape(self) -> AutoEscape {
        match self {
            Escaping::Json => AutoEscape::Json,
            Escaping::Html => AutoEscape::Html,
            Escaping::Form => AutoEscape::Custom("form".into()),
            Escaping::None => AutoEscape::None,
        }
    }

    fn write(self, out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
        match self {
            Escaping::Html | Escaping::None => escape_formatter(out, state, value),
            // The output of tojson and similar filters is already escaped.
            Escaping::Json | Escaping::Form if value.is_safe() => {
                let text = value.as_str().unwrap_or_default();
                Ok(out.write_str(&with_written_numbers(text))?)
            }
            Escaping::Json => Ok(out.write_str(&json::mark(value)?)?),
            Escaping::Form => {
                let encoded: String =
                    form_urlencoded::byte_serialize(without_marks(value.to_string()).as_bytes()).collect();
                Ok(out.write_str(&encoded)?)
            }
        }
    }
}

/// Replaces the characters that XML 1.0 (2.2) cannot hold, not even as a reference, by U+FFFD.
fn without_controls(text: String) -> String {
    let held = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..);
    if text.chars().all(held) { text } else { text.replace(|c| !held(c), "\u{FFFD}") }
}

/// Whether `name` is the variable `event` or a name that the template engine defines.
fn is_known(name: &str) -> bool {
    matches!(name, "event" | "range" | "dict" | "namespace" | "debug" | "loop")
}

fn header(source: &TemplateSource) -> Result<HeaderMap, TemplateError> {
    let content_type = HeaderValue::from_str(&source.content_type)
        .map_err(|_| TemplateError { field: "contentType", problem: "is not a valid header value".to_owned() })?;
    let mut header = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
    for (name, value) in &source.headers {
        let refused = |problem: String| TemplateError { field: "headers", problem };
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            return Err(refused(format!("must not set {name}, which is reserved: for credentials use authSecretRef")));
        }
        let key = HeaderName::from_bytes(lower.as_bytes())
            .map_err(|_| refused(format!("has an invalid header name: {name}")))?;
        let value = HeaderValue::from_str(value).map_err(|_| refused(format!("has an invalid value for {name}")))?;
        header.insert(key, value);
    }
    Ok(header)
}

fn body(problem: String) -> TemplateError {
    TemplateError { field: "body", problem }
}

/// Describes an error without quoting any value of the event.
fn explain(error: &Error) -> String {
    let kind = error.kind();
    let what = if kind == ErrorKind::UndefinedError {
        "uses a field the event does not have".to_owned()
    } else if kind == ErrorKind::OutOfFuel {
        "takes too many steps".to_owned()
    } else if OF_THE_TEMPLATE.contains(&kind) {
        error.detail().map_or_else(|| kind.to_string(), str::to_owned)
    } else {
        kind.to_string()
    };
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

#[cfg(test)]
mod tests;

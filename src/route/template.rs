//! Templates: the request body a sink's owner writes, with the event's values in it. Compiled by the operator, so that
//! a mistake shows on the custom resource, and by the receiver, which renders it. Pure and bounded.
//!
//! The template is its author's; the values are whoever's. So values are escaped for the content type, and in JSON by
//! where they stand ([`json`]); HTML is stripped from texts and an address that is not http(s) is refused ([`clean`]).

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter};
use url::form_urlencoded;

use super::{deep_stack, sink::TemplateSource};

mod clean;
mod json;
mod names;

/// The one template of an environment. Its name appears in no message.
const NAME: &str = "body";
/// The longest template, in bytes.
const SOURCE_MAX: usize = 64 * 1024;
/// How many steps one rendering may take; a template of a hundred values takes under a thousand.
const FUEL: u64 = 50_000;
/// The largest body a template may make, in bytes.
const RENDERED_MAX: usize = 1024 * 1024;
/// What headers are not the template's to set: they are the connection's, or say who we are.
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

/// Errors that quote the template, and never a value.
const OF_THE_TEMPLATE: [ErrorKind; 4] =
    [ErrorKind::SyntaxError, ErrorKind::UnknownFilter, ErrorKind::UnknownFunction, ErrorKind::UnknownTest];

/// A template that compiles.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    escaping: Escaping,
    header: HeaderMap,
}

/// How values are written into a body of some content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escaping {
    Json,
    Form,
    Html,
    None,
}

/// What is wrong with a template: the field, and what to write instead.
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
    /// The field that cannot be used; for the body, with the line.
    pub fn compile(source: &TemplateSource) -> Result<Self, TemplateError> {
        if source.body.len() > SOURCE_MAX {
            return Err(body(format!("is longer than {SOURCE_MAX} bytes")));
        }
        deep_stack::run(|| Template::parse(source)).unwrap_or_else(|| Err(body("cannot be read".to_owned())))
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
            return Err(body("holds a character of the private use area (U+E000 or U+E001): leave it out".to_owned()));
        }
        environment
            .add_template_owned(NAME, source.body.clone())
            .map_err(|error| body(format!("does not compile: {}", explain(&error))))?;
        let template = environment.get_template(NAME).map_err(|error| body(explain(&error)))?;
        if let Some(unknown) = template.undeclared_variables(false).into_iter().filter(|name| !is_known(name)).min() {
            return Err(body(format!("uses {unknown}, which there is not: the one variable is event")));
        }
        if let Some(unknown) = names::unknown(&template) {
            return Err(body(format!("does not compile: {unknown}")));
        }
        Ok(Template { environment, escaping, header: header(source)? })
    }

    /// The header the rendered body is sent with.
    #[must_use]
    pub fn header(&self) -> &HeaderMap {
        &self.header
    }

    /// The body for `event`, an object whose `data` came from outside.
    ///
    /// # Errors
    /// Why there is none, in words without any value of the event: a field it uses is missing, an address in it is not
    /// http(s), or the result is not of the content type.
    pub fn render(&self, mut event: serde_json::Value) -> Result<String, String> {
        if let Some(data) = event.get_mut("data") {
            clean::clean(data)?;
        }
        let context = minijinja::context! { event => Value::from(minijinja::value::Serde(&event)) };
        let template = self.environment.get_template(NAME).map_err(|error| explain(&error))?;
        let rendered = template.render(context).map_err(|error| explain(&error))?;
        let body = match self.escaping {
            Escaping::Json => json::resolve(&rendered)?,
            Escaping::Form | Escaping::Html | Escaping::None => rendered,
        };
        if body.len() > RENDERED_MAX { Err("the template made more than 1 MiB".to_owned()) } else { Ok(body) }
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
            // What tojson and the like made is ready as it is.
            Escaping::Json | Escaping::Form if value.is_safe() => {
                Ok(out.write_str(value.as_str().unwrap_or_default())?)
            }
            Escaping::Json => Ok(out.write_str(&json::mark(value)?)?),
            Escaping::Form => {
                let encoded: String = form_urlencoded::byte_serialize(value.to_string().as_bytes()).collect();
                Ok(out.write_str(&encoded)?)
            }
        }
    }
}

/// The event, and what the template engine brings along.
fn is_known(name: &str) -> bool {
    matches!(name, "event" | "range" | "dict" | "namespace" | "debug" | "loop")
}

fn header(source: &TemplateSource) -> Result<HeaderMap, TemplateError> {
    let content_type = HeaderValue::from_str(&source.content_type)
        .map_err(|_| TemplateError { field: "contentType", problem: "is no header value".to_owned() })?;
    let mut header = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
    for (name, value) in &source.headers {
        let refused = |problem: String| TemplateError { field: "headers", problem };
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            return Err(refused(format!(
                "must not set {name}: credentials belong into authSecretRef, the rest is ours"
            )));
        }
        let key =
            HeaderName::from_bytes(lower.as_bytes()).map_err(|_| refused(format!("has {name}, which is no header")))?;
        let value = HeaderValue::from_str(value).map_err(|_| refused(format!("has a value of {name} that is none")))?;
        header.insert(key, value);
    }
    Ok(header)
}

fn body(problem: String) -> TemplateError {
    TemplateError { field: "body", problem }
}

/// An error without anything that could be a value of the event.
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

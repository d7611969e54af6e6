//! Filters: CEL expressions that select a sink's events. The operator compiles them to report mistakes on the custom
//! resource; the receiver compiles and evaluates them. Pure and bounded: without loops, the cost of an evaluation grows
//! with the length of the filter, and regular expressions run in linear time.

use std::{collections::HashMap, fmt, sync::Arc};

use cel::{
    Context, Env, ExecutionError, Program, Value,
    common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, SelectExpr},
    objects::Key,
    parser::Macro,
};
use serde_json::Value as Json;

use super::deep_stack;

/// Longest filter, in bytes.
const SOURCE_MAX: usize = 1024;
/// Maximum nesting depth of a filter. A filter is parsed on a large stack but evaluated on an ordinary one, which must
/// suffice.
const DEPTH_MAX: usize = 32;
/// The only variable that a filter can use.
const EVENT: &str = "event";
/// The functions that a filter can call. Without this list, an unknown function would fail only at evaluation.
const FUNCTIONS: [&str; 12] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];
/// First characters of the operators, which are functions named `_<_`, `!_`, `@in`, `_?_:_` and so on.
const OPERATOR_MARKS: [char; 4] = ['_', '@', '!', '-'];

/// A compiled filter.
pub struct Filter {
    program: Program,
    environment: Arc<Env>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").finish_non_exhaustive()
    }
}

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// A description of the mistake, with its line and column.
    pub fn compile(source: &str) -> Result<Self, String> {
        if source.len() > SOURCE_MAX {
            return Err(format!("is longer than {SOURCE_MAX} bytes"));
        }
        deep_stack::run(|| Filter::parse(source)).unwrap_or_else(|| Err("cannot be parsed".to_owned()))
    }

    fn parse(source: &str) -> Result<Self, String> {
        let environment = environment()?;
        let program = environment.compile(source).map_err(|errors| {
            let first = errors.errors.first().map(|error| (error.pos, error.msg.as_str()));
            let ((line, column), message) = first.unwrap_or(((1, 1), "it cannot be parsed"));
            format!("does not compile: line {line}, column {column}: {message}")
        })?;
        if is_deeper(program.expression(), DEPTH_MAX) {
            return Err(format!("is nested more than {DEPTH_MAX} levels deep"));
        }
        let references = program.references();
        if let Some(unknown) = references.variables().into_iter().filter(|name| *name != EVENT).min() {
            return Err(format!("uses the unknown variable {unknown}: the only variable is event"));
        }
        let known = |name: &str| FUNCTIONS.contains(&name) || name.starts_with(OPERATOR_MARKS);
        if let Some(unknown) = references.functions().into_iter().filter(|name| !known(name)).min() {
            return Err(format!("calls the unknown function {unknown}: use has or one of {}", FUNCTIONS.join(", ")));
        }
        drop(references);
        Ok(Filter { program, environment: Arc::new(environment) })
    }

    /// Whether the filter is true for `event`.
    ///
    /// # Errors
    /// If the evaluation fails. The message contains no value of the event.
    pub fn wants(&self, event: &Json) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&self.environment));
        context.add_variable_from_value(EVENT, value(event));
        match self.program.execute(&context) {
            Ok(Value::Bool(wants)) => Ok(wants),
            Ok(_) => Err("the filter does not evaluate to true or false".to_owned()),
            Err(error) => Err(format!("the filter cannot be evaluated: {}", explain(&error))),
        }
    }
}

/// CEL's standard operators and functions, and the macro `has`. The other macros are loops.
fn environment() -> Result<Env, String> {
    let has = Macro::global("has", 1, |helper, _, arguments| match arguments.pop().map(|argument| argument.expr) {
        Some(Expr::Select(select)) => Ok(Some(helper.next_expr(Expr::Select(SelectExpr { test: true, ..select })))),
        Some(_) | None => Ok(None),
    });
    let mut environment = Env::default().with_stdlib();
    environment.add_macro(has).map_err(|error| error.to_string())?;
    Ok(environment)
}

/// Whether an expression is nested more than `left` levels deep.
fn is_deeper(expression: &IdedExpr, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else { return true };
    let deeper = |part: &IdedExpr| is_deeper(part, left);
    let entry = |entry: &IdedEntryExpr| match &entry.expr {
        EntryExpr::StructField(field) => deeper(&field.value),
        EntryExpr::MapEntry(entry) => deeper(&entry.key) || deeper(&entry.value),
    };
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => false,
        Expr::Call(call) => call.target.iter().any(|target| deeper(target)) || call.args.iter().any(deeper),
        Expr::List(list) => list.elements.iter().any(deeper),
        Expr::Map(map) => map.entries.iter().any(entry),
        Expr::Select(select) => deeper(&select.operand),
        Expr::Struct(message) => message.entries.iter().any(entry),
        // Only a macro that loops creates a comprehension, so any comprehension counts as too deep.
        Expr::Comprehension(_) => true,
    }
}

/// Converts an event's JSON to a CEL value. A number without a fraction becomes an int, as a literal in a filter does.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(values) => Value::List(Arc::new(values.iter().map(value).collect())),
        Json::Object(fields) => {
            let entry = |(name, field): (&String, &Json)| (Key::String(Arc::new(name.clone())), value(field));
            Value::Map(fields.iter().map(entry).collect::<HashMap<_, _>>().into())
        }
    }
}

/// Describes an error by its kind, because most of CEL's messages quote values.
fn explain(error: &ExecutionError) -> String {
    let of_types = matches!(
        error,
        ExecutionError::NoSuchOverload(_)
            | ExecutionError::UnexpectedType { .. }
            | ExecutionError::ValuesNotComparable(..)
            | ExecutionError::UnsupportedBinaryOperator(..)
    );
    if matches!(error, ExecutionError::NoSuchKey(_)) {
        "a field that it uses is missing: check for it with has(…)".to_owned()
    } else if of_types {
        "a field does not have the type that it is compared with".to_owned()
    } else {
        "an operation failed".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Json {
        json!({
            "id": "dlv_1", "type": "link.created", "subject": "l1", "timestamp": 1_700_000_000,
            "data": {"link_id": "l1", "title": "s3cret sale", "position": 3, "ratio": 0.5, "tags": ["a"], "none": null},
        })
    }

    fn wants(filter: &str) -> Result<bool, String> {
        Filter::compile(filter).unwrap().wants(&event())
    }

    #[test]
    fn a_filter_selects_events() {
        for (filter, expected) in [
            ("event.data.position < 10", true),
            ("event.data.position >= 10", false),
            ("event.data.position == 3 && event.data.ratio < 1.0", true),
            ("event.type == 'link.created' && event.data.title.contains('sale')", true),
            ("event.type in ['link.deleted', 'link.updated']", false),
            ("has(event.data.threshold) && event.data.threshold > 5", false),
            ("has(event.data.position) ? event.data.position > 2 : true", true),
            ("event.data.title.matches('^S') || event.subject.startsWith('l')", true),
            ("size(event.data.tags) == 1 && event.data.none == null && 'a' in event.data.tags", true),
            ("event.data['link_id'] == 'l1' && !event.id.endsWith('2')", true),
            ("event.timestamp > 1600000000 && -event.data.position == -3", true),
            ("true", true),
        ] {
            assert_eq!(wants(filter), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn a_failed_evaluation_is_an_error_without_any_value() {
        for (filter, expected) in [
            ("event.data.missing < 10", "a field that it uses is missing"),
            ("event.data.title < 10", "a field does not have the type"),
            ("event.data.position", "does not evaluate to true or false"),
            ("event.data.position / 0 == 1", "an operation failed"),
        ] {
            let problem = wants(filter).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("s3cret"), "{filter}: {problem}");
        }
    }

    #[test]
    fn a_filter_that_does_not_compile_is_rejected_with_its_position() {
        for (filter, expected) in [
            ("event.data.position <", "does not compile: line 1, column 22"),
            ("event.type ==\n  'a' &&& true", "does not compile: line 2, column"),
            ("evnt.type == 'a'", "uses the unknown variable evnt"),
            ("event.data.title.lower() == 'a'", "calls the unknown function lower"),
            ("event.data.tags.exists(t, t == 'a')", "uses the unknown variable t"),
            ("event.data.tags.all(event, true)", "calls the unknown function all"),
            ("", "does not compile"),
            ("has(event)", "does not compile: line 1, column 4"),
        ] {
            let problem = Filter::compile(filter).unwrap_err();
            assert!(problem.starts_with(expected), "{filter}: {problem}");
        }
    }

    #[test]
    fn a_hostile_filter_is_rejected_and_overflows_no_stack() {
        let nested = |open: &str, close: &str| {
            let times = SOURCE_MAX / (open.len() + close.len()) - 8;
            format!("{}1{} == 1", open.repeat(times), close.repeat(times))
        };
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("{1:", "}"),
            ("size(", ")"),
            ("has(", ")"),
            ("", ".a"),
            ("", "[0]"),
            ("", "+1"),
            ("", "==1"),
            ("true?1:", ""),
            ("true?", ":1"),
            ("", ".size()"),
            ("(", ""),
            ("[", ""),
            ("{1:", ""),
            ("", ")"),
            ("- 1 -", ""),
            ("'", ""),
            ("a.b(", ")"),
        ] {
            assert!(Filter::compile(&nested(open, close)).is_err(), "{open}…{close}");
        }
        assert!(Filter::compile(&"a".repeat(SOURCE_MAX + 1)).is_err());
    }

    #[test]
    fn the_deepest_accepted_filter_is_evaluated_on_an_ordinary_stack() {
        let deepest = |unit: &str| {
            let mut filters = (1..DEPTH_MAX).rev().map(|times| format!("1{} == 1", unit.repeat(times)));
            filters.find(|filter| Filter::compile(filter).is_ok()).unwrap()
        };
        for unit in ["+0", "*1"] {
            assert_eq!(wants(&deepest(unit)), Ok(true));
        }
        assert_eq!(wants(&["event.data.position == 3"; 30].join(" && ")), Ok(true));
    }
}

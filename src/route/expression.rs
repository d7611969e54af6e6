//! CEL expressions over one variable, as in [`super::filter`] and [`super::success`]. Pure and bounded: without loops,
//! the cost of an evaluation grows with the length of the expression, and regular expressions run in linear time.

use std::{collections::HashMap, fmt, sync::Arc};

use cel::{
    Context, Env, ExecutionError, Program, Value,
    common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, SelectExpr},
    objects::Key,
    parser::Macro,
};
use serde_json::Value as Json;

use super::deep_stack;
use crate::linktree::json;

/// Longest expression, in bytes.
pub(super) const SOURCE_MAX: usize = 1024;
/// Maximum nesting depth. An expression is parsed on a large stack but evaluated on an ordinary one, which must
/// suffice.
pub(super) const DEPTH_MAX: usize = 32;
/// The functions that an expression can call. Without this list, an unknown function would fail only at evaluation.
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

/// A compiled expression.
pub(super) struct Expression {
    variable: &'static str,
    program: Program,
    environment: Arc<Env>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").finish_non_exhaustive()
    }
}

impl Expression {
    /// Compiles an expression over `variable`. If `fields` is not empty, the variable has only these fields.
    ///
    /// # Errors
    /// A description of the mistake, with its line and column.
    pub(super) fn compile(source: &str, variable: &'static str, fields: &[&str]) -> Result<Self, String> {
        if source.len() > SOURCE_MAX {
            return Err(format!("is longer than {SOURCE_MAX} bytes"));
        }
        let parsed = deep_stack::run(|| Expression::parse(source, variable, fields));
        parsed.unwrap_or_else(|| Err("cannot be parsed".to_owned()))
    }

    fn parse(source: &str, variable: &'static str, fields: &[&str]) -> Result<Self, String> {
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
        if let Some(unknown) = references.variables().into_iter().filter(|name| *name != variable).min() {
            return Err(format!("uses the unknown variable {unknown}: the only variable is {variable}"));
        }
        let known = |name: &str| FUNCTIONS.contains(&name) || name.starts_with(OPERATOR_MARKS);
        if let Some(unknown) = references.functions().into_iter().filter(|name| !known(name)).min() {
            return Err(format!("calls the unknown function {unknown}: use has or one of {}", FUNCTIONS.join(", ")));
        }
        drop(references);
        if let Some(unknown) = unknown_field(program.expression(), fields) {
            let known = fields.iter().map(|field| format!("{variable}.{field}")).collect::<Vec<_>>().join(" and ");
            return Err(format!("uses the unknown field {variable}.{unknown}: there are {known}"));
        }
        Ok(Expression { variable, program, environment: Arc::new(environment) })
    }

    /// Whether the expression is true for this value of its variable.
    ///
    /// # Errors
    /// If the evaluation fails. The message contains no part of the value.
    pub(super) fn is_true(&self, of: &Json) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&self.environment));
        context.add_variable_from_value(self.variable, value(of));
        match self.program.execute(&context) {
            Ok(Value::Bool(wants)) => Ok(wants),
            Ok(_) => Err("does not evaluate to true or false".to_owned()),
            Err(error) => Err(format!("cannot be evaluated: {}", explain(&error))),
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

/// The direct parts of an expression; `None` if it loops. Only a macro that loops creates a comprehension.
fn parts(expression: &IdedExpr) -> Option<Vec<&IdedExpr>> {
    fn entry(entry: &IdedEntryExpr) -> Vec<&IdedExpr> {
        match &entry.expr {
            EntryExpr::StructField(field) => vec![&field.value],
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        }
    }
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Some(Vec::new()),
        Expr::Call(call) => Some(call.target.iter().map(|target| &**target).chain(&call.args).collect()),
        Expr::List(list) => Some(list.elements.iter().collect()),
        Expr::Map(map) => Some(map.entries.iter().flat_map(entry).collect()),
        Expr::Select(select) => Some(vec![&*select.operand]),
        Expr::Struct(message) => Some(message.entries.iter().flat_map(entry).collect()),
        Expr::Comprehension(_) => None,
    }
}

/// Whether an expression is nested more than `left` levels deep.
fn is_deeper(expression: &IdedExpr, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else { return true };
    parts(expression).is_none_or(|parts| parts.into_iter().any(|part| is_deeper(part, left)))
}

/// The first field of the variable that is not one of `known`; none is unknown if `known` is empty. The variable is the
/// only identifier of the expression, and its depth is bounded.
fn unknown_field(expression: &IdedExpr, known: &[&str]) -> Option<String> {
    if known.is_empty() {
        return None;
    }
    match &expression.expr {
        Expr::Select(SelectExpr { operand, field, .. })
            if matches!(operand.expr, Expr::Ident(_)) && !known.contains(&field.as_str()) =>
        {
            Some(field.clone())
        }
        Expr::Select(_)
        | Expr::Unspecified
        | Expr::Ident(_)
        | Expr::Literal(_)
        | Expr::Call(_)
        | Expr::List(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Comprehension(_) => parts(expression)?.into_iter().find_map(|part| unknown_field(part, known)),
    }
}

/// Converts JSON to a CEL value. A number without a fraction becomes an int, as a literal does; a number beyond 64 bits
/// becomes the nearest double, which may be infinite.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => match json::written(text) {
            Some(number) => Value::Float(number.parse().unwrap_or(f64::NAN)),
            None => Value::String(Arc::new(text.clone())),
        },
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

//! Success conditions: CEL expressions that decide whether a 2xx response means that the sink accepted the event, for
//! APIs that report errors in the body of a 200. The operator compiles them to report mistakes on the custom resource;
//! the receiver compiles and evaluates them. Pure and bounded: see [`super::expression`].

use serde_json::{Value as Json, json};

use super::expression::Expression;
use crate::linktree::json as lenient;

/// A compiled success condition. Its only variable is `answer`, with the fields `status` and `body`.
#[derive(Debug)]
pub struct SuccessCondition(Expression);

impl SuccessCondition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// A description of the mistake, with its line and column.
    pub fn compile(source: &str) -> Result<Self, String> {
        Expression::compile(source, "answer", &["status", "body"]).map(SuccessCondition)
    }

    /// Evaluates the condition for a response with this status and body. A body that is not JSON is null.
    ///
    /// # Errors
    /// If the condition is false, or its evaluation fails: what is wrong, without any part of the body.
    pub fn check(&self, status: u16, body: &[u8]) -> Result<(), String> {
        let body: Json = lenient::read(body).unwrap_or_default();
        match self.0.is_true(&json!({"status": status, "body": body})) {
            Ok(true) => Ok(()),
            Ok(false) => Err("successCondition is false".to_owned()),
            Err(problem) => Err(format!("successCondition {problem}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: &str, status: u16, body: &str) -> Result<(), String> {
        SuccessCondition::compile(condition).unwrap().check(status, body.as_bytes())
    }

    #[test]
    fn the_condition_decides_on_status_and_body() {
        let slack = "answer.body.ok == true";
        let teams = "answer.status == 202 || answer.body == 1";
        let is_false = Err("successCondition is false".to_owned());
        for (condition, status, body, expected) in [
            (slack, 200, r#"{"ok":true,"ts":"1.2"}"#, Ok(())),
            (slack, 200, r#"{"ok":false,"error":"not_in_channel"}"#, is_false.clone()),
            (slack, 200, r#"{"ok":"true"}"#, is_false.clone()),
            (teams, 200, "1", Ok(())),
            (teams, 202, "", Ok(())),
            (teams, 200, "Webhook message delivery failed with error: HTTP error 429", is_false.clone()),
            (slack, 200, r#"{"ok":true,"text":"\ud83d","n":1e999}"#, Ok(())),
            ("answer.body == null", 200, "", Ok(())),
            ("answer.body == null", 200, "<html>", Ok(())),
            ("has(answer.body.errors) ? size(answer.body.errors) == 0 : true", 200, r#"{"errors":["x"]}"#, is_false),
        ] {
            assert_eq!(check(condition, status, body), expected, "{condition}: {body}");
        }
    }

    #[test]
    fn a_failed_evaluation_is_a_failure_without_any_part_of_the_body() {
        for (condition, body, expected) in [
            ("answer.body.ok", r#"{"s3cret":1}"#, "cannot be evaluated: a field that it uses is missing"),
            ("answer.body.ok", "<html>s3cret", "cannot be evaluated: "),
            ("answer.body.ok", r#"{"ok":"s3cret"}"#, "does not evaluate to true or false"),
            ("answer.body.ok < 3", r#"{"ok":"s3cret"}"#, "cannot be evaluated: a field does not have the type"),
        ] {
            let problem = check(condition, 200, body).unwrap_err();
            assert!(problem.starts_with("successCondition ") && problem.contains(expected), "{condition}: {problem}");
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }

    #[test]
    fn a_condition_that_does_not_compile_is_rejected_with_its_mistake() {
        let long = "a".repeat(1025);
        for (condition, expected) in [
            ("answer.body.ok ==", "does not compile: line 1, column "),
            ("event.id == 'x'", "uses the unknown variable event: the only variable is answer"),
            ("answer.code == 200", "uses the unknown field answer.code: there are answer.status and answer.body"),
            ("[1, size(answer.text)] == [1, 2]", "uses the unknown field answer.text"),
            ("answer.body.all(answer, true)", "calls the unknown function all"),
            (&long, "is longer than 1024 bytes"),
        ] {
            let problem = SuccessCondition::compile(condition).unwrap_err();
            assert!(problem.starts_with(expected), "{condition}: {problem}");
        }
    }
}

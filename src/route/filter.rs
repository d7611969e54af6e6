//! Filters: CEL expressions that select a sink's events. The operator compiles them to report mistakes on the custom
//! resource; the receiver compiles and evaluates them. Pure and bounded: see [`super::expression`].

use serde_json::Value as Json;

use super::expression::Expression;

/// A compiled filter. Its only variable is `event`.
#[derive(Debug)]
pub struct Filter(Expression);

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// A description of the mistake, with its line and column.
    pub fn compile(source: &str) -> Result<Self, String> {
        Expression::compile(source, "event", &[]).map(Filter)
    }

    /// Whether the filter is true for `event`.
    ///
    /// # Errors
    /// If the evaluation fails. The message contains no value of the event.
    pub fn wants(&self, event: &Json) -> Result<bool, String> {
        self.0.is_true(event).map_err(|problem| format!("the filter {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::linktree::json;
    use crate::route::expression::{DEPTH_MAX, SOURCE_MAX};

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
    fn a_number_beyond_64_bits_is_compared_as_a_double() {
        let event = json::read(br#"{"data": {"value": 1e999, "id": 123456789012345678901234567890}}"#).unwrap();
        for filter in ["event.data.value > 5.0", "event.data.id > 1e29 && event.data.id < 1e30"] {
            assert_eq!(Filter::compile(filter).unwrap().wants(&event), Ok(true), "{filter}");
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

//! The programs in a webhook's sinks: filters, success conditions and templates. They are compiled so that not only the
//! receiver but also the webhook's status reports a mistake. Pure; it takes up to a second, and no runtime may wait.

use super::{
    invalid::{InvalidSpec, invalid},
    sink::Sink,
};
use crate::route::{
    Format,
    complexity::{Complexity, WEBHOOK_MAX},
    filter::Filter,
    success::SuccessCondition,
    template::Template,
};

/// Checks that the programs of all sinks together may be compiled: nothing cancels a compilation.
///
/// # Errors
/// The field of the first program that is too complex, or that exceeds the limit of the webhook.
pub(super) fn check(sinks: &[Sink]) -> Result<(), InvalidSpec> {
    let mut total = Complexity::default();
    for sink in sinks {
        for source in sink.filter.iter().chain(&sink.success_condition) {
            total = total + Complexity::of_expression(source);
        }
        if let Format::Template(source) = &sink.format {
            let complexity = Complexity::of_template(&source.body);
            let field = || format!("sinks[{}].template.body", sink.name);
            total = total + complexity.map_err(|problem| invalid(field(), &format!("is too complex: {problem}")))?;
        }
    }
    if total.is_too_much() {
        let Complexity { bytes, operations } = WEBHOOK_MAX;
        let problem = format!(
            "has filters, success conditions and templates of more than {bytes} bytes, or of more than {operations} \
             names, values and operators: write fewer or shorter ones, or divide the sinks between two webhooks"
        );
        return Err(invalid("sinks", &problem));
    }
    Ok(())
}

/// Whether the sinks have any program.
#[must_use]
pub fn any(sinks: &[Sink]) -> bool {
    sinks.iter().any(|sink| {
        sink.filter.is_some() || sink.success_condition.is_some() || matches!(sink.format, Format::Template(_))
    })
}

/// Compiles the programs of all sinks.
///
/// # Errors
/// The first program that does not compile, with its field and line.
pub fn compile(sinks: &[Sink]) -> Result<(), InvalidSpec> {
    for sink in sinks {
        let at = |field: &str, problem: &str| invalid(format!("sinks[{}].{field}", sink.name), problem);
        if let Some(source) = &sink.filter {
            Filter::compile(source).map_err(|problem| at("filter", &problem))?;
        }
        if let Some(source) = &sink.success_condition {
            SuccessCondition::compile(source).map_err(|problem| at("http.successCondition", &problem))?;
        }
        if let Format::Template(source) = &sink.format {
            Template::compile(source).map_err(|error| at(&format!("template.{}", error.field), &error.problem))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Spec, tests::webhook};

    fn with_templates(count: usize, body: &str) -> Result<Spec, String> {
        let sink = |number: usize| {
            let template = json!({"body": body});
            json!({"name": format!("s{number}"), "http": {"url": "http://a.b/"}, "format": "Template", "template": template})
        };
        let sinks: Vec<Value> = (0..count).map(sink).collect();
        Spec::parse(&webhook(|object| object["spec"]["sinks"] = sinks.into())).map_err(|error| error.to_string())
    }

    #[test]
    fn programs_that_are_too_complex_are_rejected_before_they_are_compiled() {
        let chain = format!("{{{{ {} }}}}", ["\"a\""; 4000].join("~"));
        let problem = with_templates(1, &chain).unwrap_err();
        assert!(
            problem.starts_with("spec.sinks[s0].template.body is too complex: line 1: a tag has more"),
            "{problem}"
        );
        let huge = with_templates(1, "{{ \"a\" * 100000000 }}").unwrap_err();
        assert!(huge.starts_with("spec.sinks[s0].template.body is too complex: line 1: a tag multiplies"), "{huge}");
        let long = "a".repeat(16 * 1024);
        assert!(with_templates(8, &long).is_ok());
        let problem = with_templates(9, &long).unwrap_err();
        assert!(problem.starts_with("spec.sinks has filters, success conditions and templates of more"), "{problem}");
    }
}

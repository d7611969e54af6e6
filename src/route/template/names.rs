//! Finds unknown filters and tests in a compiled template. The engine itself reports them only while it renders, and
//! only in the branches that it executes. Pure.

use minijinja::{
    ErrorKind, Template,
    machinery::{Instruction, get_compiled_template},
};

/// Returns the first unknown filter or test, with its line.
pub(super) fn unknown(template: &Template<'_, '_>) -> Option<String> {
    let instructions = &get_compiled_template(template).instructions;
    let mut all = (0..).map_while(|at| Some((at, instructions.get(at)?)));
    all.find_map(|(at, instruction)| {
        let what = missing(template, instruction)?;
        let line = instructions.get_line(at).map(|line| format!("line {line}: ")).unwrap_or_default();
        Some(format!("{line}{what}"))
    })
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the engine's own instructions, of which only two have such names")]
fn missing(template: &Template<'_, '_>, instruction: &Instruction<'_>) -> Option<String> {
    let mut state = template.new_state();
    // The calls have no value to act on: a known filter or test also fails, but with another kind of error.
    match instruction {
        Instruction::ApplyFilter(name, ..) => {
            let found = state.apply_filter(name, &[]);
            found.is_err_and(|error| error.kind() == ErrorKind::UnknownFilter).then(|| format!("unknown filter {name}"))
        }
        Instruction::PerformTest(name, ..) => {
            let found = state.perform_test(name, &[]);
            found.is_err_and(|error| error.kind() == ErrorKind::UnknownTest).then(|| format!("unknown test {name}"))
        }
        _ => None,
    }
}

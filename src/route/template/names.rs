//! The names a template uses. The engine finds out only while it renders, and only on the way it takes, that there is no
//! such filter or test; so they are looked for in what it has compiled. Pure.

use minijinja::{
    ErrorKind, Template,
    machinery::{Instruction, get_compiled_template},
};

/// The first filter or test that there is not, with its line.
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
    // What is there is called without a value, and complains of that.
    match instruction {
        Instruction::ApplyFilter(name, ..) => {
            let found = state.apply_filter(name, &[]);
            found
                .is_err_and(|error| error.kind() == ErrorKind::UnknownFilter)
                .then(|| format!("there is no filter {name}"))
        }
        Instruction::PerformTest(name, ..) => {
            let found = state.perform_test(name, &[]);
            found.is_err_and(|error| error.kind() == ErrorKind::UnknownTest).then(|| format!("there is no test {name}"))
        }
        _ => None,
    }
}

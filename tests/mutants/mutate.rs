//! `mutate RECORD TREE`: puts one seeded defect into a copy of the tree. `.ci/mutants` runs it.
#![allow(clippy::print_stderr, reason = "this program reports to a terminal")]
#![allow(unreachable_pub, reason = "nothing of a program is reachable from outside")]

use std::{env, fs, path::Path, process::ExitCode};

#[allow(dead_code, reason = "the first two lines of a record are for tests/tidy and .ci/mutants")]
mod record;

fn mutate(record: &Path, tree: &Path) -> Result<(), String> {
    let text = fs::read_to_string(record).map_err(|error| format!("{}: {error}", record.display()))?;
    for edit in record::parse(&text)?.edits {
        let file = tree.join(&edit.file);
        let with_file = |problem: String| format!("{}: {problem}", edit.file.display());
        let code = fs::read_to_string(&file).map_err(|error| with_file(error.to_string()))?;
        let changed = edit.apply(&code).map_err(with_file)?;
        fs::write(&file, changed).map_err(|error| with_file(error.to_string()))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [record, tree] = arguments.as_slice() else {
        eprintln!("usage: mutate RECORD TREE");
        return ExitCode::from(2);
    };
    match mutate(Path::new(record), Path::new(tree)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{record}: {problem}");
            ExitCode::FAILURE
        }
    }
}

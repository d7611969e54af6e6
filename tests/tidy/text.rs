//! Sizes, module docs, and words that have no place in a tracked file.

use std::path::Path;

use super::{assert_none, tree};

const LINES: usize = 500;
/// A binary's file parses arguments and calls `run`; what is longer belongs in the library.
const BINARY_LINES: usize = 80;

/// Joined here, so that this file is not one that has them.
fn words() -> Vec<String> {
    ["TO-DO", "FIX-ME", "XX-X", "HA-CK"].map(|word| word.replace('-', "")).to_vec()
}

/// Where packages and images come from is a matter of each machine's set-up; so is where the tree lies.
fn places() -> Vec<String> {
    let hosts = ["crates~io/", "proxy~golang~org", "sum~golang~org", "pypi~org", "pythonhosted~org", "npmjs~org"];
    let images = ["docker~io/", "gcr~io/", "quay~io/", "ghcr~io/", "registry~k8s~io/", "deb~debian~org"];
    let paths = ["~work/", "~root/"].map(|path| path.replace('~', "/"));
    hosts.iter().chain(&images).map(|host| host.replace('~', ".")).chain(paths).collect()
}

fn is_code(path: &Path, text: &str) -> bool {
    path.extension().is_some_and(|extension| extension == "rs" || extension == "go" || extension == "tpl")
        || text.starts_with("#!")
}

/// Lock files say where each package came from, and nobody edits them.
fn is_lock(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "Cargo.lock" || name == "go.sum")
}

fn complaints(path: &Path, text: &str) -> Vec<String> {
    if is_lock(path) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let limit = if path.starts_with("src/bin") { BINARY_LINES } else { LINES };
    let lines = text.lines().count();
    if is_code(path, text) && lines > limit {
        complaints.push(format!("{lines} lines, at most {limit}"));
    }
    if path.extension().is_some_and(|extension| extension == "rs") && !text.starts_with("//!") {
        complaints.push("starts without `//!`: what is it for, and what must it not do?".to_owned());
    }
    for (number, line) in text.lines().enumerate() {
        let has_word = |word: &String| line.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
        let found =
            words().into_iter().filter(has_word).chain(places().into_iter().filter(|place| line.contains(place)));
        complaints.extend(found.map(|found| format!("line {}: {found}", number + 1)));
    }
    complaints.iter().map(|why| format!("{}: {why}", path.display())).collect()
}

#[test]
fn bad_texts_are_seen() {
    let long = format!("//! Long.\n{}", "\n".repeat(LINES));
    let bad = [
        ("src/a.rs", long.clone()),
        ("src/bin/a.rs", format!("//! Long.\n{}", "\n".repeat(BINARY_LINES))),
        (".ci/run", long.replace("//!", "#!/bin/bash")),
        ("src/a.rs", "fn main() {}".to_owned()),
        ("src/a.rs", format!("//! A.\n// {}: later", words()[0])),
        ("README.md", format!("see {}tidy", places().last().unwrap())),
        ("Containerfile", format!("FROM {}library/x", places()[6])),
    ];
    for (path, text) in bad {
        assert_eq!(complaints(Path::new(path), &text).len(), 1, "{path}");
    }
    assert_none(&complaints(Path::new("src/a.rs"), "//! A workplace; a TODOS list."));
}

#[test]
fn files_are_short_say_what_they_are_for_and_name_no_machine() {
    let found: Vec<String> = tree().iter().flat_map(|(path, text)| complaints(path, text)).collect();
    assert_none(&found);
}

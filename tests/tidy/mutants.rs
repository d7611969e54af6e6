//! The defects that the suite is tried with (`make mutants`): each still fits the code, and says what it is and which tests
//! must catch it.

use std::{path::Path, process::Command};

use super::{assert_none, root, tree};

/// Fewer would not say much of the suite.
const AT_LEAST: usize = 30;

fn complaint(text: &str) -> Option<&'static str> {
    let mut lines = text.lines();
    if lines.next().is_none_or(|what| what.is_empty() || what.starts_with("--- ")) {
        return Some("its first line does not say what the defect is");
    }
    match lines.next().and_then(|line| line.strip_prefix("caught by: ")) {
        Some(tests) if tests.starts_with("--lib ") || tests.starts_with("--test ") => None,
        Some(_) | None => Some("its second line is not `caught by: --lib FILTER` or `caught by: --test NAME FILTER`"),
    }
}

fn applies(patch: &Path) -> bool {
    let check = Command::new("git").args(["apply", "--check"]).arg(patch).current_dir(root()).output();
    check.expect("git checks a patch").status.success()
}

#[test]
fn bad_patches_are_seen() {
    let bad = ["", "--- a/src/lib.rs", "It is wrong.\n--- a/src/lib.rs", "It is wrong.\ncaught by: luck\n"];
    for text in bad {
        assert!(complaint(text).is_some(), "{text:?}");
    }
    assert_eq!(complaint("It is wrong.\ncaught by: --lib admit\n"), None);
    assert!(!applies(Path::new("Cargo.toml")));
}

#[test]
fn seeded_defects_still_fit_the_code() {
    let patches: Vec<_> = tree().into_iter().filter(|(path, _)| path.starts_with("tests/mutants")).collect();
    assert!(patches.len() >= AT_LEAST, "only {} defects", patches.len());
    let complaint = |path: &Path, text: &str| {
        complaint(text)
            .or_else(|| (!applies(path)).then_some("it does not apply any more: make it anew for the code as it is"))
    };
    let found =
        patches.iter().filter_map(|(path, text)| Some(format!("{}: {}", path.display(), complaint(path, text)?)));
    assert_none(&found.collect::<Vec<_>>());
}

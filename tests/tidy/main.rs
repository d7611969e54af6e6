//! Checks of the tree that neither the compiler nor clippy makes: which module may import which, sizes, words, what is
//! generated, what must be documented. Each check is a function from text to complaints, tried on a bad text first, and
//! then on the tree itself. It starts nothing and needs no network.

#![allow(clippy::expect_used, clippy::panic, reason = "a test binary: panicking is how it fails")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

mod adr;
mod circles;
mod conditions;
mod constant_time;
mod generated;
mod graph;
mod guarded;
mod layers;
mod mutants;
mod paths;
mod rooms;
mod stages;
mod text;
mod words;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file git knows or would add, by its path from the root, with its text; what is not text is left out.
fn tree() -> Vec<(PathBuf, String)> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the tree");
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let names = String::from_utf8(listing.stdout).expect("paths are UTF-8");
    names
        .split_terminator('\0')
        .map(PathBuf::from)
        .filter_map(|path| std::fs::read_to_string(root().join(&path)).ok().map(|text| (path, text)))
        .collect()
}

/// Fails with one complaint a line.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_tree_is_not_empty() {
    assert!(tree().iter().any(|(path, _)| path == Path::new("src/lib.rs")));
}

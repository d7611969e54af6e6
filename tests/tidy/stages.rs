//! The stages of each kind import in their order, and never a later one, not even through another file of the kind.

use std::path::{Path, PathBuf};

use super::{
    assert_none,
    graph::{Graph, of_texts, of_tree},
};

/// The folders of the kinds.
const KINDS: [&str; 3] = ["src/operator/connection", "src/operator/receiver", "src/operator/webhook"];
/// The stages in their order. The types that several of them share stand below those stages.
const STAGES: [&[&str]; 7] =
    [&["spec"], &["observed", "plan", "outcome"], &["render"], &["observe"], &["decide"], &["execute"], &["status"]];

/// The stage that a file of the kind belongs to, as its place in the order.
fn stage(kind: &str, file: &Path) -> Option<usize> {
    let inside = file.strip_prefix(kind).ok()?.with_extension("");
    let first = inside.iter().next()?.to_str()?;
    STAGES.iter().position(|names| names.contains(&first))
}

fn complaints(graph: &Graph) -> Vec<String> {
    let files = KINDS.iter().flat_map(|kind| graph.edges.keys().map(move |file| (*kind, file)));
    let complaint = |(kind, file): (&str, &PathBuf)| {
        let own = stage(kind, file)?;
        let is_later = |other: &Path| stage(kind, other).is_some_and(|other| other > own);
        // Earlier stages on the way are left out: each is checked by itself.
        let leaves = |other: &Path| other.starts_with(kind) && stage(kind, other).is_none_or(|other| other > own);
        let way = graph.way(file, leaves, is_later)?;
        let way = way.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" -> ");
        Some(format!("an earlier stage imports a later one: {way}"))
    };
    files.filter_map(complaint).collect()
}

/// A kind with all its stages.
const KIND: [(&str, &str); 8] = [
    ("src/operator.rs", ""),
    ("src/operator/webhook.rs", "mod observe; pub struct Error;"),
    ("src/operator/webhook/spec.rs", "pub struct Spec;"),
    ("src/operator/webhook/observed.rs", "pub struct Observed;"),
    ("src/operator/webhook/observe.rs", "pub fn observe() -> super::observed::Observed {}"),
    ("src/operator/webhook/decide.rs", "pub fn decide(_: super::spec::Spec, _: super::observed::Observed) {}"),
    ("src/operator/webhook/execute.rs", "pub struct Executor; fn f() -> super::Error {}"),
    ("src/operator/webhook/status.rs", "pub fn status() { super::decide::decide() }"),
];

fn with(files: &[(&'static str, &'static str)]) -> Vec<String> {
    complaints(&of_texts(&[&KIND[..], files].concat()))
}

#[test]
fn imports_of_later_stages_are_reported() {
    let later = [
        ("src/operator/webhook/decide/signing.rs", "use crate::operator::webhook::execute::Executor;"),
        ("src/operator/webhook/spec.rs", "fn f(_: super::observed::Observed) {}"),
        ("src/operator/webhook/plan.rs", "use super::decide::decide;"),
        ("src/operator/webhook/execute/secret.rs", "use crate::operator::webhook::status::status;"),
    ];
    for (file, text) in later {
        assert_eq!(with(&[(file, text)]).len(), 1, "{file}: {text}");
    }
    let through = [
        ("src/operator/webhook/decide.rs", "use super::state::State;"),
        ("src/operator/webhook/state.rs", "pub struct State(super::execute::Executor);"),
    ];
    let way = "src/operator/webhook/decide.rs -> src/operator/webhook/state.rs -> src/operator/webhook/execute.rs";
    assert_eq!(with(&through), [format!("an earlier stage imports a later one: {way}")]);
}

#[test]
fn imports_of_earlier_stages_and_of_other_files_pass() {
    assert_none(&with(&[]));
    let other = [
        ("src/operator/webhook/decide/signing.rs", "use crate::operator::webhook::names::name;"),
        ("src/operator/webhook/names.rs", "pub fn name() {}"),
        ("src/operator/webhook/plan.rs", "pub struct Plan(super::observed::Observed);"),
        ("src/operator/connection/decide.rs", "use crate::operator::webhook::execute::Executor;"),
    ];
    assert_none(&with(&other));
}

#[test]
fn stages_import_in_their_order() {
    assert_none(&complaints(&of_tree()));
}

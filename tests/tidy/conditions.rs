//! Every condition type and reason the code has is documented, and the page has no other. A reason's row says what to
//! do about it.

use std::collections::BTreeSet;

use linktree_operator::api::condition::{ConditionType, Reason};

use super::{assert_none, root};

/// The rows of the table below `heading`, as cells.
fn table<'text>(page: &'text str, heading: &str) -> Vec<Vec<&'text str>> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn complaints(page: &str, heading: &str, words: &BTreeSet<&str>) -> Vec<String> {
    let rows = table(page, heading);
    let documented: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let missing = words.difference(&documented).map(|word| format!("{heading}: {word} has no row"));
    let unknown = documented.difference(words).map(|word| format!("{heading}: {word} is not in the code"));
    let empty = rows.iter().filter(|row| row.len() != 3 || row.iter().any(|cell| cell.is_empty()));
    let empty = empty.map(|row| format!("{heading}: {} wants three cells, none empty", row[0]));
    missing.chain(unknown).chain(empty).collect()
}

#[test]
fn missing_unknown_and_empty_rows_are_seen() {
    let page = "# Page\n\n## Reasons\n| a | b | c |\n|---|---|---|\n| `Good` | fine | nothing |\n| `Odd` | so | |\n";
    let found = complaints(page, "Reasons", &BTreeSet::from(["Good", "Lost"]));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_none(&complaints(&page.replace("| `Odd` | so | |\n", ""), "Reasons", &BTreeSet::from(["Good"])));
}

#[test]
fn every_condition_and_reason_is_documented_with_its_remedy() {
    let page = std::fs::read_to_string(root().join("docs/conditions.md")).expect("docs/conditions.md is there");
    let types = ConditionType::ALL.iter().map(|condition| condition.as_str()).collect();
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_none(&[complaints(&page, "Types", &types), complaints(&page, "Reasons", &reasons)].concat());
}

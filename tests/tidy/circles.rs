//! No file imports, directly or through others, from a file that imports from it. A module may use what the modules above
//! it define: `super::Item` makes no circle with the parent, which uses the child.

use std::{collections::BTreeSet, path::Path};

use super::{
    assert_none,
    graph::{Graph, of_texts},
};

/// Each circle: its files, and the names on its edges.
fn complaints(mut graph: Graph) -> Vec<String> {
    for (from, to) in &mut graph.edges {
        to.retain(|to, _| !from.starts_with(to.with_extension("")));
    }
    let describe = |circle: BTreeSet<&Path>| {
        let edges = circle.iter().flat_map(|from| circle.iter().map(move |to| (*from, *to)));
        let edges = edges.filter(|(from, to)| !graph.names(from, to).is_empty());
        let edges =
            edges.map(|(from, to)| format!("\n    {} -> {}: {}", from.display(), to.display(), graph.names(from, to)));
        format!("a circle of {} files:{}", circle.len(), edges.collect::<String>())
    };
    graph.circles().into_iter().map(describe).collect()
}

#[test]
fn circles_are_reported_with_their_edges() {
    let two = [
        ("src/a.rs", "use crate::b::B; pub struct A;"),
        ("src/b.rs", "pub struct B; fn f() { crate::c::f() }"),
        ("src/c.rs", "pub fn f(_: super::a::A) {}"),
        ("src/d/e.rs", "pub struct E(super::f::F);"),
        ("src/d/f.rs", "pub struct F(super::e::E);"),
        ("src/d.rs", ""),
        ("src/g.rs", "use crate::{a::A, b::B};"),
    ];
    let found = complaints(of_texts(&two));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        found[0],
        "a circle of 3 files:\n    src/a.rs -> src/b.rs: B\n    src/b.rs -> src/c.rs: f\n    src/c.rs -> src/a.rs: A"
    );
    assert!(found[1].ends_with("\n    src/d/e.rs -> src/d/f.rs: F\n    src/d/f.rs -> src/d/e.rs: E"), "{}", found[1]);
}

#[test]
fn imports_in_one_direction_of_parents_and_in_tests_pass() {
    let none = [
        ("src/a.rs", "mod b; pub use b::B; pub struct A;"),
        ("src/a/b.rs", "pub struct B; #[cfg(test)] mod tests { use super::super::A; }"),
        ("src/c.rs", "use crate::a::{A, B}; pub enum C { One } fn f() { C::One }"),
        ("src/a/d.rs", "use super::B;"),
        ("src/e.rs", "mod f; pub struct E; use f::F;"),
        ("src/e/f.rs", "pub struct F(super::E);"),
    ];
    assert_none(&complaints(of_texts(&none)));
}

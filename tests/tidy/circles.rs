//! No file imports, directly or through others, from a file that imports from it. Types that a module shares with its
//! children have a file of their own: `super::Item` makes a circle if the parent uses the child.

use std::{collections::BTreeSet, path::Path};

use super::{
    assert_none,
    graph::{Graph, of_texts, of_tree},
};

/// Each circle: its files, and the names on its edges.
fn complaints(graph: &Graph) -> Vec<String> {
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
    let three = [
        ("src/a.rs", "use crate::b::B; pub struct A;"),
        ("src/b.rs", "pub struct B; fn f() { crate::c::f() }"),
        ("src/c.rs", "pub fn f(_: super::a::A) {}"),
        ("src/d/e.rs", "pub struct E(super::f::F);"),
        ("src/d/f.rs", "pub struct F(super::e::E);"),
        ("src/d.rs", ""),
        ("src/g.rs", "use crate::{a::A, b::B};"),
        ("src/h.rs", "mod i; pub struct H; use i::I;"),
        ("src/h/i.rs", "pub struct I(super::H);"),
    ];
    let found = complaints(&of_texts(&three));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found[0],
        "a circle of 3 files:\n    src/a.rs -> src/b.rs: B\n    src/b.rs -> src/c.rs: f\n    src/c.rs -> src/a.rs: A"
    );
    let of_parent = "a circle of 2 files:\n    src/h/i.rs -> src/h.rs: H\n    src/h.rs -> src/h/i.rs: I";
    assert!(found.iter().any(|circle| circle == of_parent), "{found:?}");
    assert!(found[1].ends_with("\n    src/d/e.rs -> src/d/f.rs: F\n    src/d/f.rs -> src/d/e.rs: E"), "{}", found[1]);
}

#[test]
fn imports_in_one_direction_of_parents_and_in_tests_pass() {
    let none = [
        ("src/a.rs", "mod b; pub use b::B; pub struct A;"),
        ("src/a/b.rs", "pub struct B; #[cfg(test)] mod tests { use super::super::A; }"),
        ("src/c.rs", "use crate::a::{A, B}; pub enum C { One } fn f() { C::One }"),
        ("src/a/d.rs", "use super::B;"),
        ("src/e.rs", "mod f; mod g; use f::F; fn e(_: F) {}"),
        ("src/e/f.rs", "pub struct F(super::g::G);"),
        ("src/e/g.rs", "pub struct G;"),
    ];
    assert_none(&complaints(&of_texts(&none)));
}

#[test]
fn no_circle_of_files() {
    let graph = of_tree();
    assert!(graph.edges.len() > 100, "only {} files", graph.edges.len());
    assert_none(&complaints(&graph));
}

//! Which file imports which: every `use` and path of the code outside tests leads to the file that defines the item.
//! Calls of methods leave no edge, and `mod` declarations are none.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

mod names;
mod read;

use names::{Names, Target};

/// A file, the files that it imports from, and the names that it imports from each.
pub(crate) type Edges = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) edges: Edges,
}

impl Graph {
    /// The graph of files under `src`, given by their paths and texts.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Self {
        let sources: Vec<_> = files.into_iter().map(|(path, text)| read::source(path, text)).collect();
        let tests: BTreeSet<&Vec<String>> = sources.iter().flat_map(|source| &source.test_modules).collect();
        let is_test = |module: &[String]| (1..=module.len()).any(|length| tests.contains(&module[..length].to_vec()));
        let sources: Vec<_> = sources.iter().filter(|source| !is_test(&source.module)).collect();
        let names = Names::of(sources.iter().copied());
        let mut edges = Edges::new();
        for source in sources {
            let from = edges.entry(source.file.clone()).or_default();
            for (module, path) in &source.paths {
                if let Some(Target::Item { file, name }) = names.resolve(module, path)
                    && file != source.file
                {
                    from.entry(file).or_default().insert(name);
                }
            }
        }
        Self { edges }
    }

    /// The shortest way from one file to another that satisfies `is_end`, through files that satisfy `is_inside`.
    pub(crate) fn way(
        &self,
        from: &Path,
        is_inside: impl Fn(&Path) -> bool,
        is_end: impl Fn(&Path) -> bool,
    ) -> Option<Vec<&Path>> {
        let mut ways: Vec<Vec<&Path>> = vec![vec![self.edges.get_key_value(from)?.0]];
        let mut met = BTreeSet::from([from]);
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                let last = *way.last()?;
                for to in self.edges.get(last).into_iter().flat_map(BTreeMap::keys).filter(|to| is_inside(to)) {
                    if met.insert(to) {
                        let way = [way.as_slice(), &[to.as_path()]].concat();
                        if is_end(to) {
                            return Some(way);
                        }
                        longer.push(way);
                    }
                }
            }
            ways = longer;
        }
        None
    }

    /// The sets of files that import each other, directly or through others.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<&Path>> {
        let reached: BTreeMap<&Path, BTreeSet<&Path>> =
            self.edges.keys().map(|file| (&**file, self.reach(file))).collect();
        let mut circles: Vec<BTreeSet<&Path>> = Vec::new();
        for (file, reach) in &reached {
            let known = circles.iter().any(|circle| circle.contains(file));
            if reach.contains(file) && !known {
                let is_mutual = |other: &&Path| reached.get(other).is_some_and(|back| back.contains(file));
                circles.push(reach.iter().copied().filter(is_mutual).collect());
            }
        }
        circles
    }

    fn reach(&self, file: &Path) -> BTreeSet<&Path> {
        let next = |file: &Path| self.edges.get(file).into_iter().flat_map(BTreeMap::keys).map(PathBuf::as_path);
        let mut reached = BTreeSet::new();
        let mut open: Vec<&Path> = next(file).collect();
        while let Some(file) = open.pop() {
            if reached.insert(file) {
                open.extend(next(file));
            }
        }
        reached
    }

    /// The names that `from` imports from `to`.
    pub(crate) fn names(&self, from: &Path, to: &Path) -> String {
        let names = self.edges.get(from).and_then(|to_files| to_files.get(to)).into_iter().flatten();
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// The graph of some texts, with an empty root module.
pub(crate) fn of_texts(files: &[(&str, &str)]) -> Graph {
    let root = [("src/lib.rs", "")];
    Graph::of(root.iter().chain(files).map(|(path, text)| (Path::new(*path), *text)))
}

/// The graph of the tree's own `src`, without the binaries.
pub(crate) fn of_tree() -> Graph {
    let files = super::tree();
    let is_source = |path: &Path| {
        path.starts_with("src") && !path.starts_with("src/bin") && path.extension().is_some_and(|end| end == "rs")
    };
    Graph::of(files.iter().filter(|(path, _)| is_source(path)).map(|(path, text)| (path.as_path(), text.as_str())))
}

#[test]
fn imports_lead_to_the_file_that_defines_the_item() {
    let files = [
        (
            "src/a.rs",
            "mod deep; mod unused; pub use deep::Deep; use crate::b::*; words! { enum Made {} } fn f() { g(); }",
        ),
        ("src/a/deep.rs", "pub struct Deep; pub enum Kind { One }"),
        ("src/a/unused.rs", "use super::Made;"),
        ("src/b.rs", "use crate::a; fn g(_: a::Deep) -> crate::c::Alias { let x = super::c::Enum::One; x.method() }"),
        (
            "src/c.rs",
            "use std::fmt; pub type Alias = u8; pub enum Enum { One } pub mod inner { fn f() { super::super::b::g() } }
            fn f() { println!(\"{} crate::a::Kind\", super::a::Deep::new()); use kube::Client; }
            #[cfg(test)] mod tests; #[cfg(test)] fn t() { crate::a::f() }
            impl Enum { #[cfg(test)] fn t() { crate::a::f() } }",
        ),
        ("src/c/tests.rs", "use crate::a::f;"),
    ];
    let graph = of_texts(&files);
    let found: Vec<String> = graph
        .edges
        .iter()
        .flat_map(|(from, to)| {
            to.keys().map(|to| format!("{} {}: {}", from.display(), to.display(), graph.names(from, to)))
        })
        .collect();
    let wanted = [
        "src/a/unused.rs src/a.rs: Made",
        "src/a.rs src/a/deep.rs: Deep",
        "src/a.rs src/b.rs: g",
        "src/b.rs src/a/deep.rs: Deep",
        "src/b.rs src/c.rs: Alias, Enum",
        "src/c.rs src/a/deep.rs: Deep",
        "src/c.rs src/b.rs: g",
    ];
    assert_eq!(found, wanted);
}

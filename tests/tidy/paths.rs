//! Reads a Rust file's outward references: every path that leaves the file's own module, as the top-level module or
//! the crate it leads to. Paths inside macros are found by their tokens.

use std::path::Path;

use syn::visit::{self, Visit};

/// Where a path leads: the module below `crate`, or another crate, with up to one segment more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// Whether it is this crate's own.
    pub(crate) ours: bool,
    pub(crate) head: String,
    pub(crate) next: Option<String>,
    /// Whether only test code has it.
    pub(crate) test: bool,
}

/// The module a file under `src/` is: `src/operator/webhook/decide.rs` is `[operator, webhook, decide]`.
pub(crate) fn module_of(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix("src").unwrap_or(file).with_extension("");
    let mut module: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

/// All references of a file, and whether it has `async` code outside its tests.
pub(crate) fn read(file: &Path, text: &str) -> (Vec<Reference>, bool) {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut reader = Reader { module: module_of(file), test: false, found: Vec::new(), is_async: false };
    reader.visit_file(&parsed);
    reader.found.sort();
    reader.found.dedup();
    (reader.found, reader.is_async)
}

struct Reader {
    module: Vec<String>,
    test: bool,
    found: Vec<Reference>,
    is_async: bool,
}

impl Reader {
    fn note(&mut self, segments: &[String]) {
        let mut base = self.module.clone();
        let mut rest = segments;
        let mut ours = false;
        while let Some(first) = rest.first() {
            match first.as_str() {
                "crate" => base.clear(),
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            ours = true;
            rest = &rest[1..];
        }
        // Only a path that has come up to the root leads to another module of ours.
        if ours && !base.is_empty() {
            return;
        }
        if let Some(head) = rest.first() {
            self.found.push(Reference { ours, head: head.clone(), next: rest.get(1).cloned(), test: self.test });
        }
    }

    fn note_use(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_use(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.note(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.note_use(before, item)),
        }
    }
}

pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::Path(_) | syn::Meta::NameValue(_) => false,
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let outer = self.test;
        self.test |= is_test(&module.attrs);
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
        self.test = outer;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.note(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let tokens = call.tokens.to_string().replace(' ', "");
        for (start, _) in tokens.match_indices("crate::") {
            let path = tokens[start..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
            let segments: Vec<String> = path.unwrap_or_default().split("::").map(str::to_owned).collect();
            self.note(&segments);
        }
        visit::visit_macro(self, call);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.is_async |= signature.asyncness.is_some() && !self.test;
        visit::visit_signature(self, signature);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.is_async |= !self.test;
        visit::visit_expr_await(self, expression);
    }
}

#[test]
fn uses_paths_supers_and_macros_are_all_read() {
    let text = "use crate::{api::Kind, route}; use super::super::receiver as r; use self::inner::X; use kube::Client;
        fn f() { crate::linktree::go(); println!(\"{}\", crate::clock::now()); }
        #[cfg(test)] mod tests { use crate::simulator; use super::f; async fn g() {} }";
    let (found, is_async) = read(Path::new("src/operator/webhook.rs"), text);
    let seen: Vec<String> = found.iter().filter(|found| found.ours).map(|found| found.head.clone()).collect();
    assert_eq!(seen, ["api", "clock", "linktree", "receiver", "route", "simulator"]);
    assert!(found.iter().any(|found| !found.ours && found.head == "kube"));
    assert!(found.iter().all(|found| found.test == (found.head == "simulator")), "{found:?}");
    assert!(!is_async);
    assert!(read(Path::new("src/x.rs"), "async fn f() {}").1);
}

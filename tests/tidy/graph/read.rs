//! Reads one Rust file: the names that its modules have, and every path that its code outside tests writes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

use crate::paths::{is_test, module_of};

type Segments = Vec<String>;

/// What a module's own code says about its names.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) items: Vec<String>,
    /// A name and the path that a `use` gives it.
    pub(super) imports: Vec<(String, Segments)>,
    pub(super) globs: Vec<Segments>,
    /// Whether a macro may define more items.
    pub(super) has_macros: bool,
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) module: Segments,
    /// The file's module and the modules inside it.
    pub(super) scopes: BTreeMap<Segments, Scope>,
    /// Paths, each with the module that writes it.
    pub(super) paths: Vec<(Segments, Segments)>,
    /// Modules in files of their own that exist only for tests.
    pub(super) test_modules: Vec<Segments>,
}

pub(super) fn source(file: &Path, text: &str) -> Source {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let module = module_of(file);
    let scopes = BTreeMap::from([(module.clone(), Scope::default())]);
    let source = Source { file: file.to_owned(), module: module.clone(), scopes, paths: vec![], test_modules: vec![] };
    let mut reader = Reader { source, module, depth: 0 };
    reader.visit_file(&parsed);
    reader.source
}

struct Reader {
    source: Source,
    module: Segments,
    /// How many blocks of code enclose this place.
    depth: usize,
}

impl Reader {
    fn scope(&mut self) -> &mut Scope {
        self.source.scopes.entry(self.module.clone()).or_default()
    }

    fn note(&mut self, path: Segments) {
        self.source.paths.push((self.module.clone(), path));
    }

    fn note_use(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        let (name, path) = match tree {
            syn::UseTree::Path(path) => return self.note_use(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => return group.items.iter().for_each(|item| self.note_use(before, item)),
            syn::UseTree::Glob(_) => return self.scope().globs.push(before.to_vec()),
            syn::UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), before.to_vec()),
            syn::UseTree::Name(name) => (Some(name.ident.to_string()), with(&name.ident)),
            syn::UseTree::Rename(name) => (Some(name.rename.to_string()), with(&name.ident)),
        };
        self.scope().imports.extend(name.map(|name| (name, path.clone())));
        self.note(path);
    }
}

/// The attributes and the name of an item.
fn parts(item: &syn::Item) -> (&[syn::Attribute], Option<&syn::Ident>) {
    match item {
        syn::Item::Const(item) => (&item.attrs, Some(&item.ident)),
        syn::Item::Enum(item) => (&item.attrs, Some(&item.ident)),
        syn::Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
        syn::Item::Static(item) => (&item.attrs, Some(&item.ident)),
        syn::Item::Struct(item) => (&item.attrs, Some(&item.ident)),
        syn::Item::Trait(item) => (&item.attrs, Some(&item.ident)),
        syn::Item::TraitAlias(item) => (&item.attrs, Some(&item.ident)),
        syn::Item::Type(item) => (&item.attrs, Some(&item.ident)),
        syn::Item::Union(item) => (&item.attrs, Some(&item.ident)),
        syn::Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
        syn::Item::Impl(item) => (&item.attrs, None),
        syn::Item::Mod(item) => (&item.attrs, None),
        syn::Item::Use(item) => (&item.attrs, None),
        syn::Item::ExternCrate(_) | syn::Item::ForeignMod(_) | syn::Item::Verbatim(_) | _ => (&[], None),
    }
}

/// Paths of two segments and more in tokens as text, outside string literals.
fn paths_in(tokens: &str) -> Vec<Segments> {
    let joined = tokens.replace(" :: ", "::");
    // Every other part is inside quotes.
    let outside = joined.replace("\\\\", "").replace("\\\"", "");
    let code: String = outside.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let paths =
        words.map(|word| word.trim_end_matches(':')).filter(|word| word.contains("::") && !word.starts_with(':'));
    paths.map(|path| path.split("::").map(str::to_owned).collect()).collect()
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = parts(item);
        if let (syn::Item::Mod(module), true) = (item, is_test(attributes)) {
            self.source.test_modules.push([&self.module[..], &[module.ident.to_string()]].concat());
        }
        if is_test(attributes) {
            return;
        }
        if self.depth == 0 {
            self.scope().has_macros |= matches!(item, syn::Item::Macro(_)) && name.is_none();
            self.scope().items.extend(name.map(ToString::to_string));
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_some() {
            self.module.push(module.ident.to_string());
            self.scope();
            visit::visit_item_mod(self, module);
            self.module.pop();
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.note_use(&[], &item.tree);
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.depth += 1;
        visit::visit_block(self, block);
        self.depth -= 1;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.note(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        for path in paths_in(&call.tokens.to_string()) {
            self.note(path);
        }
        visit::visit_macro(self, call);
    }
}

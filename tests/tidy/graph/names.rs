//! Resolves a path that a module writes to the file that defines its item, through imports and re-exports.

use std::{collections::BTreeMap, path::PathBuf};

use super::read::{Scope, Source};

/// More imports of imports than this are a circle of names.
const DEPTH: usize = 16;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An item, or a variant or associated item of it.
    Item {
        file: PathBuf,
        name: String,
    },
    Module(Vec<String>),
}

#[derive(Debug)]
pub(super) struct Names<'a> {
    modules: BTreeMap<&'a [String], (&'a Source, &'a Scope)>,
}

impl<'a> Names<'a> {
    pub(super) fn of(sources: impl Iterator<Item = &'a Source>) -> Self {
        let scopes =
            |source: &'a Source| source.scopes.iter().map(move |(module, scope)| (&module[..], (source, scope)));
        Self { modules: sources.flat_map(scopes).collect() }
    }

    /// Where `path`, written in `module`, leads; none for names of other crates, of locals and of generics. A name that
    /// stands alone is resolved only through glob imports: any other is in the file or was imported by a path.
    pub(super) fn resolve(&self, module: &[String], path: &[String]) -> Option<Target> {
        if let [name] = path {
            return self.in_globs(module, name, &[], DEPTH);
        }
        self.follow(module, path, DEPTH)
    }

    fn follow(&self, module: &[String], path: &[String], depth: usize) -> Option<Target> {
        let mut at = module.to_vec();
        let mut rest = path;
        while let Some((first, later)) = rest.split_first() {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                _ => return self.descend(at, rest, depth),
            }
            rest = later;
        }
        Some(Target::Module(at))
    }

    /// Where `path` leads from inside the module `at`.
    fn descend(&self, mut at: Vec<String>, path: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let mut rest = path;
        while let Some((name, later)) = rest.split_first() {
            let &(source, scope) = self.modules.get(&at[..])?;
            let inner = [&at[..], std::slice::from_ref(name)].concat();
            let is_module = self.modules.contains_key(&inner[..]);
            // A module and an item may share a name: more segments mean the module, none the item.
            let as_module = is_module && !later.is_empty();
            let imports = scope.imports.iter().filter(|(import, _)| import == name && !as_module);
            let mut imported = imports.filter_map(|(_, path)| self.follow(&at, path, depth));
            if !as_module && scope.items.contains(name) {
                return Some(Target::Item { file: source.file.clone(), name: name.clone() });
            }
            match imported.next() {
                Some(Target::Module(module)) => at = module,
                Some(item @ Target::Item { .. }) => return Some(item),
                None if is_module => at = inner,
                None => return self.in_globs(&at, name, later, depth).or_else(|| made(source, scope, name)),
            }
            rest = later;
        }
        Some(Target::Module(at))
    }

    fn in_globs(&self, module: &[String], name: &String, later: &[String], depth: usize) -> Option<Target> {
        let (_, scope) = self.modules.get(module)?;
        let path = [std::slice::from_ref(name), later].concat();
        let through = |glob: &Vec<String>| match self.follow(module, glob, depth)? {
            Target::Module(inner) if inner != module => self.descend(inner, &path, depth),
            Target::Module(_) | Target::Item { .. } => None,
        };
        scope.globs.iter().find_map(through)
    }
}

/// An item that a macro of the module may define.
fn made(source: &Source, scope: &Scope, name: &str) -> Option<Target> {
    let is_type = name.starts_with(char::is_uppercase);
    (scope.has_macros && is_type).then(|| Target::Item { file: source.file.clone(), name: name.to_owned() })
}

//! A disk with exactly the guarantees of POSIX: content is durable after an fsync of the file, a name after an fsync of
//! its directory. Before, any part may be durable, in any order, by sectors. Content of a failed fsync may never be
//! durable, and no later fsync reports it: only another write helps.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use rand::{Rng, rngs::StdRng};

use super::trace::Step;

const SECTOR: usize = 512;

/// Possible content of the disk after a power cut.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

/// The part of unsynced content that survives the cut.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Nothing,
    Everything,
    /// Everything up to some sector.
    Prefix,
    /// Each sector with this probability.
    Torn(f64),
}

/// A disk below one directory.
pub struct Disk {
    root: PathBuf,
    files: Vec<File>,
    /// The content that processes see.
    live: BTreeMap<PathBuf, Entry>,
    /// The durable content.
    durable: BTreeMap<PathBuf, Entry>,
    /// Unsynced changes of names, in order.
    names: Vec<(PathBuf, Option<Entry>)>,
}

#[derive(Clone, Copy)]
enum Entry {
    Directory,
    File(usize),
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Content lost by a failed fsync.
    limbo: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    /// Within one sector.
    Bytes {
        at: usize,
        data: Vec<u8>,
    },
    Length(usize),
}

impl Disk {
    /// Creates a durable empty directory.
    pub fn new(root: &Path) -> Self {
        let there = BTreeMap::from([(root.to_owned(), Entry::Directory)]);
        Disk { root: root.to_owned(), files: Vec::new(), live: there.clone(), durable: there, names: Vec::new() }
    }

    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Mkdir(path) => self.name(path, Some(Entry::Directory)),
            Step::Create(path) if !self.live.contains_key(path) => {
                self.files.push(File::default());
                self.name(path, Some(Entry::File(self.files.len() - 1)));
            }
            Step::Create(_) | Step::Answer { .. } => {}
            Step::Unlink(path) => self.name(path, None),
            Step::Write { file, at, data } => {
                let pending = &mut self.file(file).pending;
                let mut at = *at;
                let mut data = data.as_slice();
                while !data.is_empty() {
                    let (piece, rest) = data.split_at(data.len().min(SECTOR - at % SECTOR));
                    pending.push(Change::Bytes { at, data: piece.to_vec() });
                    at += piece.len();
                    data = rest;
                }
            }
            Step::Truncate { file, length } => self.file(file).pending.push(Change::Length(*length)),
            Step::Sync { path, worked } => match (self.live.get(path), worked) {
                (Some(Entry::File(_)), worked) => self.file(path).sync(*worked),
                (Some(Entry::Directory), true) => self.sync_names(path),
                // Names stay unsynced; a later sync may make them durable.
                (Some(Entry::Directory), false) => {}
                (None, _) => panic!("{} is synced, but does not exist", path.display()),
            },
        }
    }

    /// Possible content after a power cut now.
    pub fn image(&self, fate: Fate, rng: &mut StdRng) -> Image {
        let mut names = self.durable.clone();
        let named = match fate {
            Fate::Nothing => 0,
            Fate::Everything => self.names.len(),
            Fate::Prefix | Fate::Torn(_) => rng.random_range(0..=self.names.len()),
        };
        for (path, entry) in &self.names[..named] {
            change_name(&mut names, path, *entry);
        }
        let directories: BTreeSet<&Path> = names
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Directory))
            .map(|(path, _)| path.as_path())
            .collect();
        let reached = |path: &Path| {
            path.ancestors().skip(1).take_while(|up| up.starts_with(&self.root)).all(|up| directories.contains(up))
        };
        let files = names.iter().filter_map(|(path, entry)| match entry {
            Entry::File(number) if reached(path) => Some((path.clone(), self.files[*number].image(fate, rng))),
            Entry::File(_) | Entry::Directory => None,
        });
        files.collect()
    }

    /// The writes that are missing in the record for a file to have this content.
    pub fn differences(&self, path: &Path, content: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        let known = match self.live.get(path) {
            Some(Entry::File(number)) => self.files[*number].live(),
            Some(Entry::Directory) | None => {
                steps.push(Step::Create(path.to_owned()));
                Vec::new()
            }
        };
        for (n, data) in content.chunks(SECTOR).enumerate() {
            let at = n * SECTOR;
            if known.get(at..at + data.len()) != Some(data) {
                steps.push(Step::Write { file: path.to_owned(), at, data: data.to_vec() });
            }
        }
        if known.len() > content.len() {
            steps.push(Step::Truncate { file: path.to_owned(), length: content.len() });
        }
        steps
    }

    fn name(&mut self, path: &Path, entry: Option<Entry>) {
        change_name(&mut self.live, path, entry);
        self.names.push((path.to_owned(), entry));
    }

    fn sync_names(&mut self, directory: &Path) {
        let names = std::mem::take(&mut self.names);
        for (path, entry) in names {
            if path.parent() == Some(directory) {
                change_name(&mut self.durable, &path, entry);
            } else {
                self.names.push((path, entry));
            }
        }
    }

    fn file(&mut self, path: &Path) -> &mut File {
        match self.live.get(path) {
            Some(Entry::File(number)) => &mut self.files[*number],
            Some(Entry::Directory) | None => panic!("{} is written to, but does not exist", path.display()),
        }
    }
}

fn change_name(names: &mut BTreeMap<PathBuf, Entry>, path: &Path, entry: Option<Entry>) {
    match entry {
        Some(entry) => drop(names.insert(path.to_owned(), entry)),
        None => drop(names.remove(path)),
    }
}

impl File {
    fn sync(&mut self, worked: bool) {
        let pending = std::mem::take(&mut self.pending);
        if !worked {
            self.limbo.extend(pending);
            return;
        }
        for change in &pending {
            change.apply(&mut self.durable);
        }
        // A rewritten sector has its new content, and so has everything after a truncation.
        let cut = pending.iter().any(|change| matches!(change, Change::Length(_)));
        let rewritten: BTreeSet<usize> = pending.iter().filter_map(Change::sector).collect();
        self.limbo.retain(|change| !cut && change.sector().is_none_or(|sector| !rewritten.contains(&sector)));
    }

    /// The content that a process reads.
    fn live(&self) -> Vec<u8> {
        let mut content = self.durable.clone();
        self.limbo.iter().chain(&self.pending).for_each(|change| change.apply(&mut content));
        content
    }

    fn image(&self, fate: Fate, rng: &mut StdRng) -> Vec<u8> {
        let open: Vec<&Change> = self.limbo.iter().chain(&self.pending).collect();
        let prefix = rng.random_range(0..=open.len());
        let mut content = self.durable.clone();
        for (n, change) in open.into_iter().enumerate() {
            let there = match fate {
                Fate::Nothing => false,
                Fate::Everything => true,
                Fate::Prefix => n < prefix,
                Fate::Torn(chance) => rng.random_bool(chance),
            };
            if there {
                change.apply(&mut content);
            }
        }
        content
    }
}

impl Change {
    fn sector(&self) -> Option<usize> {
        match self {
            Change::Bytes { at, .. } => Some(at / SECTOR),
            Change::Length(_) => None,
        }
    }

    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Bytes { at, data } => {
                content.resize(content.len().max(at + data.len()), 0);
                content[*at..at + data.len()].copy_from_slice(data);
            }
            Change::Length(length) => content.resize(*length, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn write(text: &str) -> Step {
        Step::Write { file: "/v/a".into(), at: 0, data: text.as_bytes().to_vec() }
    }

    fn sync(path: &str, worked: bool) -> Step {
        Step::Sync { path: path.into(), worked }
    }

    /// The durable content after these steps.
    fn durable(steps: &[Step]) -> Option<String> {
        let mut disk = Disk::new(Path::new("/v"));
        steps.iter().for_each(|step| disk.apply(step));
        let image = disk.image(Fate::Nothing, &mut StdRng::seed_from_u64(1));
        image.get(Path::new("/v/a")).map(|content| String::from_utf8(content.clone()).unwrap())
    }

    #[test]
    fn only_synced_content_with_a_synced_name_is_durable() {
        let create = Step::Create("/v/a".into());
        assert_eq!(durable(&[create.clone(), write("x"), sync("/v/a", true)]), None);
        let named = [create, sync("/v", true)];
        let after = |steps: &[Step]| durable(&[&named, steps].concat());
        assert_eq!(after(&[write("x")]).as_deref(), Some(""));
        assert_eq!(after(&[write("x"), sync("/v/a", true)]).as_deref(), Some("x"));
        assert_eq!(after(&[write("x"), sync("/v/a", false), sync("/v/a", true)]).as_deref(), Some(""));
        assert_eq!(after(&[write("x"), sync("/v/a", false), write("y"), sync("/v/a", true)]).as_deref(), Some("y"));
        assert_eq!(after(&[write("x"), sync("/v/a", true), write("yz")]).as_deref(), Some("x"));
    }
}

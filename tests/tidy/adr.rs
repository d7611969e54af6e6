//! Decision records: numbered without gaps, and each file's title carries its number.

use std::path::Path;

use super::{assert_none, tree};

/// `files`: names in docs/adr and their texts, in order of name.
fn complaints(files: &[(String, String)]) -> Vec<String> {
    let check = |(index, (name, text)): (usize, &(String, String))| {
        let number = format!("{:04}", index + 1);
        let title = format!("# {number}: ");
        (!name.starts_with(&format!("{number}-")) || !text.starts_with(&title))
            .then(|| format!("docs/adr/{name}: is number {number} in order, and must begin with `{title}`"))
    };
    files.iter().enumerate().filter_map(check).collect()
}

#[test]
fn a_gap_and_a_wrong_title_are_seen() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(complaints(&[file("0001-a.md", "# 0001: A"), file("0003-b.md", "# 0003: B")]).len(), 1);
    assert_eq!(complaints(&[file("0001-a.md", "# A")]).len(), 1);
    assert_none(&complaints(&[file("0001-a.md", "# 0001: A")]));
}

#[test]
fn decision_records_are_numbered() {
    let mut files: Vec<(String, String)> = tree()
        .into_iter()
        .filter(|(path, _)| path.parent() == Some(Path::new("docs/adr")))
        .map(|(path, text)| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    assert_none(&complaints(&files));
}

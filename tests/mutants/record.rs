//! A seeded defect as text: what is wrong, which tests must catch it, and the code to replace.
//!
//! Whitespace and comments do not count when the code is searched, so that neither rustfmt nor another nesting nor a better
//! comment breaks a record. Uses only std.

use std::path::PathBuf;

/// A defect: one sentence, the arguments of nextest for the tests that must catch it, and its edits.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) what: String,
    pub(crate) caught_by: String,
    pub(crate) edits: Vec<Edit>,
}

/// Code of one file, and the code to put in its place.
#[derive(Debug)]
pub(crate) struct Edit {
    /// The path from the root of the tree.
    pub(crate) file: PathBuf,
    find: String,
    replace: String,
}

/// Reads a record: a sentence, `caught by: ARGUMENTS`, then `file: PATH`, `find:` and `replace:` once or more. The code
/// below `find:` and `replace:` is indented by four columns; further edits of the same file need no further `file:`.
pub(crate) fn parse(text: &str) -> Result<Record, String> {
    let mut lines = text.lines().peekable();
    let what = lines.next().filter(|what| what.ends_with('.')).ok_or("the first line is not a sentence")?;
    let caught_by = lines.next().and_then(|line| line.strip_prefix("caught by: "));
    let caught_by = caught_by
        .filter(|tests| tests.starts_with("--lib ") || tests.starts_with("--test "))
        .ok_or("the second line is not `caught by: --lib FILTER` or `caught by: --test NAME FILTER`")?;
    let mut file = None;
    let mut edits = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(path) = line.strip_prefix("file: ") {
            file = Some(PathBuf::from(path));
            continue;
        }
        let find = if line == "find:" { block(&mut lines) } else { return Err(format!("unexpected line: {line:?}")) };
        if significant(&find).is_empty() || find.ends_with(',') {
            return Err("the code to find is empty, or ends with a comma, which rustfmt may remove".to_owned());
        }
        lines.next_if_eq(&"replace:").ok_or("`find:` has no `replace:`")?;
        let replace = block(&mut lines);
        if replace.starts_with(' ') {
            return Err("the first line to put in is indented more than another".to_owned());
        }
        edits.push(Edit { file: file.clone().ok_or("`find:` comes before `file:`")?, find, replace });
    }
    if edits.is_empty() {
        return Err("it replaces no code".to_owned());
    }
    Ok(Record { what: what.to_owned(), caught_by: caught_by.to_owned(), edits })
}

/// The indented and blank lines that come next, without the indentation that all of them share.
fn block<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> String {
    let mut block = Vec::new();
    while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with("    ")) {
        block.push(line);
    }
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let shared = block.iter().filter(|line| !line.is_empty()).map(indentation).min().unwrap_or_default();
    let lines: Vec<&str> = block.into_iter().map(|line| line.get(shared..).unwrap_or_default()).collect();
    lines.join("\n").trim_end().to_owned()
}

impl Edit {
    /// `text` with the defect. Fails unless the code to find stands in it exactly once, and differs from the replacement.
    pub(crate) fn apply(&self, text: &str) -> Result<String, String> {
        let found = places(text, &self.find);
        let &[(mut start, mut end)] = found.as_slice() else {
            return Err(format!("{} places have this code, not 1:\n{}", found.len(), self.find));
        };
        let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let code = text[line..].find(|c: char| !c.is_whitespace()).map_or(line, |column| line + column);
        let rest = text[end..].find('\n').map_or(text.len(), |newline| end + newline + 1);
        if self.replace.is_empty() && start == code && text[end..rest].trim().is_empty() {
            (start, end) = (line, rest);
        }
        let replace = self.replace.replace('\n', &format!("\n{}", &text[line..code.min(start)]));
        let changed = format!("{}{replace}{}", &text[..start], &text[end..]);
        if changed == text { Err("it changes nothing".to_owned()) } else { Ok(changed) }
    }
}

/// The ranges of bytes in `text` that hold the code `find`.
fn places(text: &str, find: &str) -> Vec<(usize, usize)> {
    let (text_characters, find) = (significant(text), significant(find));
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let found = text_characters.windows(find.len()).filter_map(|window| {
        let (&(start, first), &(last_start, last)) = (window.first()?, window.last()?);
        let end = last_start + last.len_utf8();
        let begins_inside = is_word(first) && text[..start].ends_with(is_word);
        let ends_inside = is_word(last) && text[end..].starts_with(is_word);
        let is_same = window.iter().zip(&find).all(|((_, one), (_, other))| one == other);
        (is_same && !begins_inside && !ends_inside).then_some((start, end))
    });
    found.collect()
}

/// The characters that decide whether two pieces of code are the same, with their offsets: no whitespace, no comment that
/// has a line of its own, and no comma before a closing bracket, which rustfmt adds where it wraps.
fn significant(code: &str) -> Vec<(usize, char)> {
    let mut characters = Vec::new();
    let mut offset = 0;
    for line in code.split_inclusive('\n') {
        if !line.trim_start().starts_with("//") {
            let visible = line.char_indices().filter(|(_, c)| !c.is_whitespace());
            characters.extend(visible.map(|(index, c)| (offset + index, c)));
        }
        offset += line.len();
    }
    let is_trailing = |index: usize| {
        let next = characters.get(index + 1);
        characters[index].1 == ',' && next.is_some_and(|(_, next)| ")]}".contains(*next))
    };
    (0..characters.len()).filter(|index| !is_trailing(*index)).map(|index| characters[index]).collect()
}

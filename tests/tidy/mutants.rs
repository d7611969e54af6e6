//! The defects that the suite is tried with (`make mutants`): each record is well formed and applies to the code as it is.

use std::path::{Path, PathBuf};

use super::{assert_none, tree};

#[path = "../mutants/record.rs"]
mod record;

/// Fewer say little about the suite.
const AT_LEAST: usize = 30;

/// Why a record is no defect of these files, and where its code may have moved.
fn complaint(text: &str, files: &[(PathBuf, String)]) -> Option<String> {
    let record = match record::parse(text) {
        Ok(record) => record,
        Err(problem) => return Some(problem),
    };
    let apply = |edit: &record::Edit| {
        let code = files.iter().find(|(path, _)| *path == edit.file).map(|(_, code)| edit.apply(code));
        let problem = code.unwrap_or(Err("is not in the tree".to_owned())).err()?;
        let fitting = files.iter().filter(|(path, code)| path.starts_with("src") && edit.apply(code).is_ok());
        let fitting: Vec<_> = fitting.map(|(path, _)| path.display().to_string()).collect();
        let moved = if fitting.is_empty() { String::new() } else { format!("\nfits {}", fitting.join(", ")) };
        Some(format!("does not apply ({}): {}: {problem}{moved}", record.what, edit.file.display()))
    };
    record.edits.iter().find_map(apply)
}

/// The first edit of a record with these blocks, applied to `code`.
fn edited(code: &str, find: &str, replace: &str) -> Result<String, String> {
    let block = |code: &str| code.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!("Wrong.\ncaught by: --lib a\nfile: a.rs\nfind:\n{}replace:\n{}", block(find), block(replace));
    record::parse(&text)?.edits[0].apply(code)
}

#[test]
fn bad_records_are_reported() {
    let files = [("src/lib.rs", "pub mod api;\npub mod route;\n"), ("src/other.rs", "fn moved() {}\n")];
    let files = files.map(|(path, code)| (PathBuf::from(path), code.to_owned()));
    let head = "It is wrong.\ncaught by: --lib admit\nfile: src/lib.rs\n";
    let bad = [
        String::new(),
        "caught by: --lib admit\n".to_owned(),
        "It is wrong.\ncaught by: luck\n".to_owned(),
        head.to_owned(),
        format!("{head}search:\n"),
        format!("{head}find:\n    pub mod api;\n"),
        format!("{head}find:\n    pub mod api,\nreplace:\n    pub mod b,\n"),
        format!("{head}find:\nreplace:\n    pub mod api;\n"),
        format!("{head}find:\n    pub mod api;\nreplace:\n        pub mod a;\n    pub mod b;\n"),
        format!("{}find:\n    pub mod api;\nreplace:\n", head.replace("file: src/lib.rs\n", "")),
        // These are well formed and do not apply.
        format!("{head}find:\n    no such code\nreplace:\n"),
        format!("{head}find:\n    pub mod\nreplace:\n"),
        format!("{head}find:\n    pub mod api;\nreplace:\n    pub mod api;\n"),
        format!("{}find:\n    pub mod api;\nreplace:\n", head.replace("lib.rs", "no-such.rs")),
    ];
    for text in bad {
        assert!(complaint(&text, &files).is_some(), "{text}");
    }
    let good = format!("{head}find:\n    pub mod api;\nreplace:\n");
    assert_eq!(complaint(&good, &files), None);
    let moved = complaint(&format!("{head}find:\n    fn moved()\nreplace:\n    fn renamed()\n"), &files).unwrap();
    assert!(moved.ends_with("fits src/other.rs"), "{moved}");
    let record = record::parse(&good).unwrap();
    assert_eq!((record.what.as_str(), record.caught_by.as_str()), ("It is wrong.", "--lib admit"));
}

#[test]
fn code_is_found_however_it_is_wrapped_nested_and_commented() {
    let wrapped =
        "fn f() {\n    // A comment.\n    g(\n        1,\n        // Another.\n        2,\n    );\n    h();\n}\n";
    assert_eq!(
        edited(wrapped, "g(1, 2);", "g(\n    2,\n);").unwrap(),
        "fn f() {\n    // A comment.\n    g(\n        2,\n    );\n    h();\n}\n"
    );
    assert_eq!(edited(wrapped, "g(1, 2);", "").unwrap(), "fn f() {\n    // A comment.\n    h();\n}\n");
    assert_eq!(edited("a(b, c)", "b", "d").unwrap(), "a(d, c)");
    assert!(edited("a_limit", "limit", "size").is_err(), "part of a longer name");
    assert!(edited("limits", "limit", "size").is_err(), "part of a longer name");
    assert!(edited("// old();", "old();", "new();").is_err(), "a comment is not code");
}

#[test]
fn seeded_defects_apply_to_the_code() {
    let is_record = |path: &Path| path.extension().is_some_and(|extension| extension == "mutant");
    let files = tree();
    let records: Vec<_> = files.iter().filter(|(path, _)| is_record(path)).collect();
    assert!(records.len() >= AT_LEAST, "only {} defects", records.len());
    let found =
        records.iter().filter_map(|(path, text)| Some(format!("{}: {}", path.display(), complaint(text, &files)?)));
    assert_none(&found.collect::<Vec<_>>());
}

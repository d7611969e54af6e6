//! The defects that the suite is tried with (`make mutants`): each record is well formed and applies to the code as it is.

use std::{fs, path::Path};

use super::{assert_none, root, tree};

#[path = "../mutants/record.rs"]
mod record;

/// Fewer say little about the suite.
const AT_LEAST: usize = 30;

/// Why a record is no defect of the tree at `root`.
fn complaint(text: &str, root: &Path) -> Option<String> {
    let record = match record::parse(text) {
        Ok(record) => record,
        Err(problem) => return Some(problem),
    };
    let applied = record.edits.iter().try_for_each(|edit| {
        let code = fs::read_to_string(root.join(&edit.file)).map_err(|error| error.to_string())?;
        edit.apply(&code).map(drop)
    });
    applied.err().map(|problem| format!("does not apply ({}): {problem}", record.what))
}

/// The first edit of a record with these blocks, applied to `code`.
fn edited(code: &str, find: &str, replace: &str) -> Result<String, String> {
    let block = |code: &str| code.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!("Wrong.\ncaught by: --lib a\nfile: a.rs\nfind:\n{}replace:\n{}", block(find), block(replace));
    record::parse(&text)?.edits[0].apply(code)
}

#[test]
fn bad_records_are_reported() {
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
        assert!(complaint(&text, root()).is_some(), "{text}");
    }
    let good = format!("{head}find:\n    pub mod api;\nreplace:\n");
    assert_eq!(complaint(&good, root()), None);
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
    let records: Vec<_> = tree().into_iter().filter(|(path, _)| is_record(path)).collect();
    assert!(records.len() >= AT_LEAST, "only {} defects", records.len());
    let found =
        records.iter().filter_map(|(path, text)| Some(format!("{}: {}", path.display(), complaint(text, root())?)));
    assert_none(&found.collect::<Vec<_>>());
}

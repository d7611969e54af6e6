//! Objects of the API server are parsed one by one and field by field. No test can try every kind, so each use of
//! kube's API is found in the text.

use std::path::Path;

use super::{assert_none, tree};

/// The wrappers of a kind that parse each object on its own.
const GUARDS: [&str; 5] = ["Guarded<", "MetadataOf<", "LiveObject<", "K>", "_>"];

fn complaints(path: &Path, text: &str) -> Vec<String> {
    if !path.starts_with("src/operator") || path.ends_with("tests.rs") || path.iter().any(|part| part == "tests") {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let unguarded = |part: &&str| !GUARDS.iter().any(|guard| part.starts_with(guard));
    // `GuardedApi<K>` and kube's `Api<K>`, each without and with the turbofish.
    let uses = ["Api::<", "Api<"].into_iter().flat_map(|api| {
        let starts = code.match_indices(api).filter(|(at, _)| !code[..*at].ends_with("Guarded"));
        starts.map(|(at, _)| &code[at + api.len()..]).collect::<Vec<_>>()
    });
    let line = |part: &str| part.lines().next().unwrap_or_default().to_owned();
    uses.filter(unguarded)
        .map(|part| format!("{}: reads a kind without Guarded: {}", path.display(), line(part)))
        .collect()
}

#[test]
fn unguarded_reads_are_seen() {
    let path = Path::new("src/operator/webhook.rs");
    for bad in ["let api: Api<Secret> = x;", "Api::<LinktreeWebhook>::all(client)"] {
        assert_eq!(complaints(path, bad).len(), 1, "{bad}");
    }
    for good in [
        "let api: GuardedApi<Secret> = x;",
        "GuardedApi::<Pod>::all(c)",
        "Api<MetadataOf<K>>",
        "#[cfg(test)]\nApi<Pod>",
    ] {
        assert_none(&complaints(path, good));
    }
}

#[test]
fn every_object_is_parsed_on_its_own() {
    assert_none(&tree().iter().flat_map(|(path, text)| complaints(path, text)).collect::<Vec<_>>());
}

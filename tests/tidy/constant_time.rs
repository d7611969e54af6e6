//! What is secret is compared in constant time. No test can see reliably that it is not, so the calls are looked for.

use std::path::Path;

use super::{assert_none, tree};

/// Where secrets are compared, and what does it.
const COMPARISONS: [(&str, &str); 2] =
    [("src/linktree/signature.rs", ".verify_slice("), ("src/linktree/secret.rs", ".ct_eq(")];

fn complaints(path: &Path, text: &str) -> Vec<String> {
    let Some((_, call)) = COMPARISONS.iter().find(|(place, _)| path == Path::new(place)) else { return Vec::new() };
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let compares = |line: &&str| line.contains("== self.0") || line.contains("self.0 ==");
    let mut complaints: Vec<_> = code
        .lines()
        .filter(compares)
        .map(|line| format!("takes a time that depends on a secret: {}", line.trim()))
        .collect();
    if !code.contains(call) {
        complaints.push(format!("does not compare with `{call}…)`"));
    }
    complaints.iter().map(|why| format!("{}: {why}", path.display())).collect()
}

#[test]
fn bad_comparisons_are_seen() {
    let [(signature, verify), (secret, equal)] = COMPARISONS;
    assert_eq!(complaints(Path::new(signature), "mac(secret).finalize() == self.0").len(), 2);
    assert_eq!(complaints(Path::new(secret), "fn eq() {}\n#[cfg(test)]\n.ct_eq(").len(), 1);
    assert_none(&complaints(Path::new(signature), &format!("mac{verify}&self.0)")));
    assert_none(&complaints(Path::new(secret), &format!("a{equal}b)")));
}

#[test]
fn secrets_are_compared_in_constant_time() {
    let tree = tree();
    let compared = |place: &str| tree.iter().any(|(path, _)| path == Path::new(place));
    assert!(COMPARISONS.iter().all(|(place, _)| compared(place)), "secrets are compared elsewhere now: say where");
    assert_none(&tree.iter().flat_map(|(path, text)| complaints(path, text)).collect::<Vec<_>>());
}

//! Words that the rules for English exclude, and the remedy for each: use the field's terms, begin a sentence with its
//! subject, and treat components as things, not as persons.

use std::path::Path;

use regex::Regex;

use super::{assert_none, tree};

/// Where the rules hold: folders and files.
const PLACES: [&str; 7] = ["src", "docs", "charts", "crds", "README.md", "CHANGELOG.md", "ARCHITECTURE.md"];

/// An expression, and the remedy.
const RULES: [(&str, &str); 6] = [
    (r"(?i)\blook(s|ed|ing)? at\b", "name the act: reconcile, read, inspect, compare"),
    (r"(?i)\b(anew|afresh)\b", "say `again`, or name the act: recreate, retry, relist"),
    (r"(?i)\b(whoever|somebody|nobody|everybody)\b", "a component is a thing: name it"),
    (r"(?i)\b(is|are) to be \w+ed\b", "say `must`"),
    (r"(?i)\bbut for\b", "say `except`"),
    // In a comment of Rust, shell, YAML or a template.
    (r"^\s*(//[/!]?|#+|\{\{-?\s*/\*|/\*)\s*(What|Who|Of|That) ", "begin with the subject, and then the verb"),
];

/// Addresses and links are not English.
const ADDRESS: &str = r"[a-z]+://\S+|\]\([^)]*\)";

struct Rules {
    rules: Vec<(Regex, &'static str)>,
    address: Regex,
}

impl Rules {
    fn new() -> Self {
        let regex = |text: &str| Regex::new(text).expect("the expression is valid");
        Self { rules: RULES.iter().map(|(rule, why)| (regex(rule), *why)).collect(), address: regex(ADDRESS) }
    }

    fn complaints(&self, path: &Path, text: &str) -> Vec<String> {
        if !PLACES.iter().any(|place| path.starts_with(place)) {
            return Vec::new();
        }
        let is_markdown = path.extension().is_some_and(|extension| extension == "md");
        let mut complaints = Vec::new();
        let mut before = String::new();
        for (number, line) in text.lines().enumerate() {
            let line = self.address.replace_all(line, "");
            for (index, (rule, remedy)) in self.rules.iter().enumerate() {
                // A heading of a page is not a comment.
                if is_markdown && index == RULES.len() - 1 {
                    continue;
                }
                let found = rule.find(&line).map(|found| found.as_str().trim().to_owned());
                let found = found.or_else(|| across(rule, &before, &line));
                complaints.extend(found.map(|found| format!("{}:{}: `{found}`: {remedy}", path.display(), number + 1)));
            }
            before = line.into_owned();
        }
        complaints
    }
}

/// The text that a rule finds across the end of a line, and in neither line alone.
fn across(rule: &Regex, before: &str, line: &str) -> Option<String> {
    let marks = |c: char| c.is_whitespace() || "/!#*".contains(c);
    let (before, line) = (before.trim_end(), line.trim_start_matches(marks));
    let both = format!("{before} {line}");
    let found = rule.find_iter(&both).find(|found| found.start() < before.len() && found.end() > before.len() + 1)?;
    Some(found.as_str().to_owned())
}

#[test]
fn each_word_of_the_list_is_reported_alone() {
    let rules = Rules::new();
    let bad = [
        "look at",
        "Looks at",
        "looked at",
        "looking at",
        "anew",
        "Afresh",
        "whoever",
        "somebody",
        "Nobody",
        "everybody",
        "is to be renewed",
        "are to be called",
        "But for",
        "x(); // made anew",
        "somebody's",
        "a `whoever` b",
        "| nobody |",
    ];
    for text in bad {
        assert_eq!(rules.complaints(Path::new("src/a.rs"), text).len(), 1, "{text}");
        assert_eq!(rules.complaints(Path::new("docs/a.md"), text).len(), 1, "{text}");
    }
    let comments = [
        "// What is read.",
        "    /// Who asks.",
        "//! Of two, one.",
        "/// That it is.",
        "# What runs",
        "  # Of all.",
        "{{- /* What it is. */}}",
        "//Who asks.",
        "/* That is. */",
    ];
    for text in comments {
        assert_eq!(rules.complaints(Path::new("charts/a.yaml"), text).len(), 1, "{text}");
    }
    let wrapped = ["// it is looked\n// at twice", "is to be\n    retried", "/// except it, but\n/// for one"];
    for text in wrapped {
        assert_eq!(rules.complaints(Path::new("src/a.rs"), text).len(), 1, "{text}");
    }
    let places = PLACES.map(|place| if place.contains('.') { place.to_owned() } else { format!("{place}/a/b.txt") });
    for place in places {
        assert_eq!(rules.complaints(Path::new(&place), "anew").len(), 1, "{place}");
    }
}

#[test]
fn identifiers_addresses_headings_and_other_places_pass() {
    let rules = Rules::new();
    let good = [
        "fn somebody_else() {}",
        "canew",
        "nobodys",
        "outlook at",
        "it is to be",
        "button for",
        "/// Whatever is read.",
        "/// Office hours.",
        "see https://example.test/somebody/anew",
        "let x = 1; // What else",
        "a [page](docs/anew.md)",
        "/// Thatcher",
        "is to be kept",
    ];
    for text in good {
        assert_none(&rules.complaints(Path::new("src/a.rs"), text));
    }
    assert_none(&rules.complaints(Path::new("docs/a.md"), "# What it does\n## Of keys"));
    for place in ["tests/a.rs", "benches/a.rs", "Cargo.toml", "docs.rs"] {
        assert_none(&rules.complaints(Path::new(place), "anew"));
    }
}

#[test]
fn the_tree_speaks_the_fields_language() {
    let rules = Rules::new();
    let found: Vec<String> = tree().iter().flat_map(|(path, text)| rules.complaints(path, text)).collect();
    assert_none(&found);
}

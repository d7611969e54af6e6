//! One row of a fault table: case counts, the seed, and a report line.

use std::io::Write;

use rand::{SeedableRng, rngs::StdRng};

/// One fault row of docs/chaos.md.
pub struct Row {
    name: &'static str,
    test: &'static str,
    pub seed: u64,
    cases: u64,
    violations: Vec<String>,
}

/// Whether `CHAOS=full` requests the case counts of docs/chaos.md.
pub fn full() -> bool {
    std::env::var("CHAOS").is_ok_and(|value| value == "full")
}

/// The seed of all random choices, from `CHAOS_SEED`.
pub fn seed() -> u64 {
    std::env::var("CHAOS_SEED").ok().and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// The number of cases: `goal` in a full run, `part` otherwise. `CHAOS_CASES` overrides both.
pub fn count(goal: usize, part: usize) -> usize {
    let requested = std::env::var("CHAOS_CASES").ok().and_then(|value| value.parse().ok());
    requested.unwrap_or(if full() { goal } else { part })
}

impl Row {
    /// Creates an empty row. `test` is the test's name, for the command that repeats it.
    pub fn new(name: &'static str, test: &'static str) -> Self {
        Row { name, test, seed: seed(), cases: 0, violations: Vec::new() }
    }

    pub fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    pub fn tried(&mut self, cases: usize) {
        self.cases += cases as u64;
    }

    pub fn violated(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// Prints the row's line, and panics if there are violations.
    #[track_caller]
    pub fn finish(self) {
        let Row { name, test, seed, cases, violations } = self;
        let line = format!("chaos: {name:<28} {cases:>7} cases {:>4} violations\n", violations.len());
        // Bypasses the test's capture: a passing row must be visible as well.
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        let first_line = |violation: &String| violation.lines().next().unwrap_or_default().to_owned();
        let whole = violations.iter().take(10).cloned();
        let shown = whole.chain(violations.iter().skip(10).map(first_line)).collect::<Vec<_>>().join("\n  ");
        let target = match env!("CARGO_CRATE_NAME") {
            "linktree_operator" => "--lib".to_owned(),
            test => format!("--test {test}"),
        };
        let size = if full() { "CHAOS=full " } else { "" };
        assert!(
            violations.is_empty(),
            "{} violations:\n  {shown}\nrepeat: {size}CHAOS_SEED={seed} cargo test {target} {test}",
            violations.len(),
        );
        assert!(cases > 0, "the row has no cases");
    }
}

//! How much is tried, with which randomness, and how it is reported: one line per fault row.

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

/// Whether the full counts of docs/chaos.md run.
pub fn full() -> bool {
    std::env::var("CHAOS").is_ok_and(|value| value == "full")
}

/// What all randomness comes from.
pub fn seed() -> u64 {
    std::env::var("CHAOS_SEED").ok().and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// How many cases: `goal` in a full run, a smaller part otherwise. `CHAOS_CASES` overrides both.
pub fn count(goal: usize, part: usize) -> usize {
    let asked = std::env::var("CHAOS_CASES").ok().and_then(|value| value.parse().ok());
    asked.unwrap_or(if full() { goal } else { part })
}

impl Row {
    /// `test` is the name of the test, for the command that repeats it.
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

    /// Says the row's line, and fails if anything was violated.
    #[track_caller]
    pub fn finish(self) {
        let Row { name, test, seed, cases, violations } = self;
        let line = format!("chaos: {name:<28} {cases:>7} cases {:>4} violations\n", violations.len());
        // Past the test's capture: a passing row is to be seen as well.
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        let first_line = |violation: &String| violation.lines().next().unwrap_or_default().to_owned();
        let whole = violations.iter().take(10).cloned();
        let shown = whole.chain(violations.iter().skip(10).map(first_line)).collect::<Vec<_>>().join("\n  ");
        let size = if full() { "CHAOS=full " } else { "" };
        assert!(
            violations.is_empty(),
            "{} violations:\n  {shown}\nrepeat: {size}CHAOS_SEED={seed} cargo test --test {} {test}",
            violations.len(),
            env!("CARGO_CRATE_NAME")
        );
        assert!(cases > 0, "nothing was tried");
    }
}

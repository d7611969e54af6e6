//! docs/benchmarks.md: replaces the table between a benchmark's two marks, with the machine and the command. The text
//! around the marks is written by hand and stays.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use linktree_operator::clock;

/// Replaces the table of `make bench-{name}`.
pub(crate) fn write(name: &str, table: &str) -> Result<()> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(&begin).context("docs/benchmarks.md has no begin mark")?;
    let (_, after) = rest.split_once(&end).context("docs/benchmarks.md has no end mark")?;
    let day = clock::now().strftime("%Y-%m-%d").to_string();
    let page = format!("{before}{begin}{day}, `make bench-{name}`, {}\n\n{table}{end}{after}", machine());
    Ok(fs::write(path, page)?)
}

fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{}, 2 cores, Linux {kernel}", model.map_or("unknown", |(_, model)| model))
}

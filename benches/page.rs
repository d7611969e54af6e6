//! docs/benchmarks.md: the newest table of a benchmark between its two marks, with the machine and the command. What is around it was
//! written by people and stays.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use linktree_operator::clock;

/// Puts the `table` of `make bench-{of}` in the place of the one before.
pub(crate) fn write(of: &str, table: &str) -> Result<()> {
    let (begin, end) = (format!("<!-- {of}: begin -->\n"), format!("<!-- {of}: end -->"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(&begin).context("the page has no begin mark")?;
    let (_, after) = rest.split_once(&end).context("the page has no end mark")?;
    let day = clock::now().strftime("%Y-%m-%d").to_string();
    let page = format!("{before}{begin}{day}, `make bench-{of}`, {}\n\n{table}{end}{after}", machine());
    Ok(fs::write(path, page)?)
}

fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{}, 2 cores, Linux {kernel}", model.map_or("unknown", |(_, model)| model))
}

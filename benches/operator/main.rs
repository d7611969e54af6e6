//! `make bench-operator`: the operator's goals. `--quick` runs every part for a moment, to show that it runs. See
//! docs/benchmarks.md.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, clippy::expect_used, reason = "this program speaks to a person at a terminal")]
#![allow(unreachable_pub, reason = "nothing of a program is reachable from outside")]

use anyhow::{Result, bail};
use clap::Parser;

use self::report::Row;

#[path = "../page.rs"]
mod page;
#[path = "../report.rs"]
#[allow(dead_code, reason = "the receiver's benchmark needs more of it")]
mod report;
mod simulation;
mod turns;

/// Measures the operator.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Run every part for a moment, and leave docs/benchmarks.md alone.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let Arguments { quick } = Arguments::parse();
    let rows: Vec<Row> = turns::rows(quick);
    let table = report::table(&rows);
    eprintln!("{table}");
    if !quick {
        page::write("operator", &table)?;
    }
    if rows.iter().any(|row| row.met == Some(false)) {
        bail!("a goal was missed");
    }
    Ok(())
}

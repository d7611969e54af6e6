//! `make bench-receiver`: the receiver's goals P1 to P6, measured with its peers in one run. `--quick` runs every part
//! briefly, as a smoke test. See docs/benchmarks.md.
//!
//! Servers run on core 0; the generator and the sinks on core 1. The measure is the server's CPU time per event, since
//! wall time also depends on other processes of the machine.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock; the ban concerns the operator's decisions")]
#![allow(clippy::print_stderr, reason = "this program prints to a terminal")]
#![allow(unreachable_pub, reason = "no item of a binary is reachable from outside")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Parser;

use self::support::{benchmark_page, benchmark_report};

mod beside;
mod disk;
mod goals;
mod inside;
mod load;
mod log_size;
mod request;
mod server;
mod sink;
mod stored;
mod subject;

/// The parts of `tests/support` that this binary uses.
#[path = "../../tests/support"]
mod support {
    pub mod benchmark_page;
    pub mod benchmark_report;
}

/// Measures the receiver and its peers.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Arguments {
    /// Run every part briefly, and do not write docs/benchmarks.md.
    #[arg(long)]
    quick: bool,
    /// A directory with Express and its packages, see benches/peers/express. Without it Express is skipped.
    #[arg(long)]
    express: Option<PathBuf>,
    /// The binary of qhook. Without it qhook is skipped.
    #[arg(long)]
    qhook: Option<PathBuf>,
    /// The directory of journals and other stores: on a real disk, not in memory.
    #[arg(long)]
    directory: PathBuf,
    /// Measure only these goals, such as `P1`.
    #[arg(long)]
    only: Vec<String>,
}

impl Arguments {
    /// The duration of one measurement.
    fn duration(&self) -> Duration {
        if self.quick { Duration::from_millis(300) } else { Duration::from_secs(8) }
    }

    fn wants(&self, goal: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == goal)
    }

    /// Creates an empty directory on the measured disk.
    fn workplace(&self) -> Result<tempfile::TempDir> {
        tempfile::tempdir_in(&self.directory).with_context(|| format!("cannot write to {}", self.directory.display()))
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, serve, name, address, route_file] = arguments.as_slice()
        && serve == "serve"
    {
        return inside::serve(name, address, Path::new(route_file));
    }
    let arguments = Arguments::parse();
    let rows = goals::measure(&arguments)?;
    let table = benchmark_report::table(&rows);
    eprintln!("\n{table}");
    if arguments.quick {
        say("quick run: the results are not meaningful");
    }
    if rows.iter().any(|row| row.measured.contains("NaN")) {
        bail!("a measurement has no result");
    }
    if !arguments.quick && arguments.only.is_empty() {
        benchmark_page::write("receiver", &table)?;
    }
    Ok(())
}

/// Prints progress to stderr.
pub(crate) fn say(what: &str) {
    eprintln!("[bench] {what}");
}

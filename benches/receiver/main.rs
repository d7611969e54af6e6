//! `make bench-receiver`: the receiver's goals P1 to P6, measured beside its peers in one run. `--quick` runs every
//! part for a moment, to show that it runs. See docs/benchmarks.md.
//!
//! Servers run on core 0; the generator and the sinks on core 1. What counts is CPU time of the server per event, since
//! the time on the clock also belongs to whoever else is on the machine.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock; the ban is for the operator's own decisions"
)]
#![allow(clippy::print_stderr, reason = "this program speaks to a person at a terminal")]
#![allow(unreachable_pub, reason = "nothing of a program is reachable from outside")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Parser;

use self::support::{benchmark_page, benchmark_report};

mod disk;
mod goals;
mod inside;
mod load;
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
    /// Run every part for a moment, and leave docs/benchmarks.md alone.
    #[arg(long)]
    quick: bool,
    /// A directory with Express and its packages, see benches/peers/express. Left out where it is not given.
    #[arg(long)]
    express: Option<PathBuf>,
    /// The program qhook. Left out where it is not given.
    #[arg(long)]
    qhook: Option<PathBuf>,
    /// Where journals and other stores are put: a real disk, not memory.
    #[arg(long)]
    directory: PathBuf,
    /// Only goals whose number this is, `P1` for one.
    #[arg(long)]
    only: Vec<String>,
}

impl Arguments {
    /// How long one measurement lasts.
    fn duration(&self) -> Duration {
        if self.quick { Duration::from_millis(300) } else { Duration::from_secs(8) }
    }

    fn wants(&self, goal: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == goal)
    }

    /// An empty directory on the disk that is measured.
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
        say("that was the quick form: what it measured says nothing");
    }
    if rows.iter().any(|row| row.measured.contains("NaN")) {
        bail!("a measurement came to nothing");
    }
    if !arguments.quick && arguments.only.is_empty() {
        benchmark_page::write("receiver", &table)?;
    }
    Ok(())
}

/// Tells the person at the terminal how far it is.
pub(crate) fn say(what: &str) {
    eprintln!("[bench] {what}");
}

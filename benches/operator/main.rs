//! `make bench-operator`: the operator's goals. `--quick` runs every part for a moment, to show that it runs. See
//! docs/benchmarks.md.
//!
//! P7 and P8 are simulated. For P9 and P10 the operator is a process of its own that is looked at through /proc and its
//! metrics.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock; the ban is for the operator's own decisions"
)]
#![allow(clippy::print_stderr, clippy::expect_used, reason = "this program speaks to a person at a terminal")]
#![allow(unreachable_pub, reason = "nothing of a program is reachable from outside")]

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use clap::Parser;

use self::support::{
    benchmark_page,
    benchmark_report::{self, Row},
};

mod api_server;
mod cost;
mod nodes;
mod process;
mod quota;
mod receivers;
mod recovery;
mod workload;

/// The parts of `tests/support` that this binary uses.
#[path = "../../tests/support"]
mod support {
    pub mod benchmark_page;
    #[allow(dead_code, reason = "the receiver's benchmark uses more of it")]
    pub mod benchmark_report;
    pub mod quota_simulation;
}

/// As many webhooks as P9 speaks of.
const WEBHOOKS: usize = 10_000;

/// Measures the operator.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// The program that P9 and P10 are measured of, in the cluster that KUBECONFIG names. Left out, they are.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// How many webhooks P9 is measured with. With fewer docs/benchmarks.md is left alone.
    #[arg(long, default_value_t = WEBHOOKS)]
    webhooks: usize,
    /// Run every part for a moment, and leave docs/benchmarks.md alone.
    #[arg(long)]
    quick: bool,
}

/// What P9 is measured with.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    operator: PathBuf,
    webhooks: usize,
    /// How many of them share a namespace and a connection.
    per_namespace: usize,
    /// How many subscriptions are disabled in each of two ways.
    disabled: usize,
    /// How often an account is listed.
    sync_period: Duration,
    /// How long nothing was written when what a start sets off is over.
    calm: Duration,
    /// How long nothing is changed while the operator is measured.
    quiet: Duration,
    /// What is measured is held against the goals. A handful of webhooks for a moment says nothing but what is written.
    judged: bool,
}

impl Scale {
    fn new(operator: PathBuf, arguments: &Arguments) -> Self {
        let seconds = Duration::from_secs;
        if arguments.quick {
            Scale {
                operator,
                webhooks: 12,
                per_namespace: 6,
                disabled: 2,
                sync_period: seconds(10),
                calm: seconds(2),
                quiet: seconds(20),
                judged: false,
            }
        } else {
            Scale {
                operator,
                webhooks: arguments.webhooks,
                per_namespace: 100,
                disabled: 20,
                sync_period: seconds(300),
                // What is announced of a budget is taken back within 91 s, and within ten minutes everything is read
                // anew.
                calm: seconds(100),
                quiet: seconds(630),
                judged: true,
            }
        }
    }

    fn namespaces(&self) -> usize {
        self.webhooks.div_ceil(self.per_namespace)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut rows: Vec<Row> = quota::rows(arguments.quick);
    if let Some(operator) = &arguments.operator {
        // One TLS provider for everything. Installing fails only where one is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let scale = Scale::new(operator.clone(), &arguments);
        rows.extend(tokio::runtime::Runtime::new()?.block_on(cost::measure(&scale))?);
    }
    let table = benchmark_report::table(&rows);
    eprintln!("{table}");
    if !arguments.quick && arguments.operator.is_some() && arguments.webhooks == WEBHOOKS {
        benchmark_page::write("operator", &table)?;
    }
    if rows.iter().any(|row| row.met == Some(false)) {
        bail!("a goal was missed");
    }
    Ok(())
}

/// Tells the person at the terminal how far it is.
pub(crate) fn say(what: impl AsRef<str>) {
    eprintln!("[bench] {}", what.as_ref());
}

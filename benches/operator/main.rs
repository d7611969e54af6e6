//! `make bench-operator`: the operator's goals. `--quick` runs every part briefly, as a smoke test. See
//! docs/benchmarks.md.
//!
//! P7 and P8 are simulated. For P9 and P10 the operator is a child process, measured through /proc and its metrics.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock; the ban concerns the operator's decisions")]
#![allow(clippy::print_stderr, clippy::expect_used, reason = "this program prints to a terminal")]
#![allow(unreachable_pub, reason = "no item of a binary is reachable from outside")]

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

/// The number of webhooks in goal P9.
const WEBHOOKS: usize = 10_000;

/// Measures the operator.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// The operator's binary for P9 and P10, which run in the cluster of KUBECONFIG. Without it both are skipped.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// The number of webhooks for P9. With fewer, docs/benchmarks.md is not written.
    #[arg(long, default_value_t = WEBHOOKS)]
    webhooks: usize,
    /// Run every part briefly, and do not write docs/benchmarks.md.
    #[arg(long)]
    quick: bool,
}

/// The scale of P9 and P10.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    operator: PathBuf,
    webhooks: usize,
    /// How many webhooks share a namespace and a connection.
    per_namespace: usize,
    /// How many subscriptions are disabled in each of two ways.
    disabled: usize,
    /// The sync period of an account.
    sync_period: Duration,
    /// Time without writes after which a start counts as settled.
    calm: Duration,
    /// Duration of the measurement, without changes.
    quiet: Duration,
    /// Whether the results are compared with the goals. A brief run with few webhooks only shows the writes.
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
                // Reservations of a budget are released within 91 s, and everything is read again within ten minutes.
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
        // One TLS provider for the process. Installation fails only if there is one already.
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

/// Prints progress to stderr.
pub(crate) fn say(what: impl AsRef<str>) {
    eprintln!("[bench] {}", what.as_ref());
}

//! P9: memory, CPU per reconciliation, and writes, without changes. P10 is measured in the same cluster.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use kube::Client;

use crate::{
    Scale, api_server::Requests, nodes, process::Operator, receivers::Receivers, recovery, say,
    support::benchmark_report::Row, workload,
};

/// The goals with 10,000 webhooks.
const RESIDENT_MIB: f64 = 45.0;
const PER_WEBHOOK_KIB: f64 = 3.0;
const PEAK_SHARE: f64 = 1.3;
const RECONCILE_MICROSECONDS: f64 = 150.0;
/// No separate goal, but the main cost of CPU time: a settled webhook is read in full about once in 30 reconciliations.
const READS_PER_RECONCILE: f64 = 0.5;

/// The results.
#[derive(Debug)]
struct Cost {
    webhooks: f64,
    /// Resident memory in MiB: of an operator without webhooks, peak during creation, settled after a restart, peak
    /// since then.
    empty: f64,
    grown: f64,
    settled: f64,
    peak: f64,
    /// The time until all were ready, and until all were reconciled after the restart.
    made_in: Duration,
    seen_in: Duration,
    quiet: Quiet,
}

/// The measurement without changes.
#[derive(Debug)]
struct Quiet {
    lasted: Duration,
    reconciles: f64,
    cpu: Duration,
    requests: Requests,
}

pub(crate) async fn measure(scale: &Scale) -> Result<Vec<Row>> {
    let client = Client::try_default().await?;
    workload::install_crds(&client).await?;
    let linktree = workload::linktree(scale).await?;
    let receivers = Arc::new(Receivers::start().await?);
    let _nodes = nodes::play(&client, &receivers);
    let webhooks = scale.webhooks;

    let operator = Operator::start(&scale.operator, receivers.proxy).await?;
    let empty = operator.resident()?;
    let begun = Instant::now();
    say(format!("creating {webhooks} webhooks"));
    let ready = workload::all_ready(&client, webhooks);
    tokio::try_join!(workload::fill(&client, &linktree, scale), ready)?;
    let made_in = begun.elapsed();
    say(format!("all webhooks are ready after {:.0} s; restarting the operator", made_in.as_secs_f64()));
    let grown = operator.peak()?;
    operator.stop()?;

    let webhooks = webhooks as f64;
    let mut operator = Operator::start(&scale.operator, receivers.proxy).await?;
    operator.wait("all webhooks are reconciled", async |it| Ok(it.reconciles().await? as f64 >= webhooks)).await?;
    let seen_in = operator.started.elapsed();
    say(format!("all webhooks are reconciled after {:.1} s; no changes from now on", seen_in.as_secs_f64()));
    until_settled(&client, scale.calm).await?;
    let quiet = quiet(&client, &operator, scale.quiet).await?;
    let (settled, peak) = (operator.resident()?, operator.peak()?);
    let mut rows = rows(Cost { webhooks, empty, grown, settled, peak, made_in, seen_in, quiet });
    rows.extend(recovery::enabled_again(&client, &linktree, &receivers, scale).await?);
    operator.stop()?;
    rows.extend(recovery::taken_over(scale, receivers.proxy).await?);
    if !scale.judged {
        let counts = |row: &&mut Row| row.what.contains("writes") || row.what.contains("reads");
        rows.iter_mut().filter(|row| !counts(row)).for_each(|row| row.met = None);
    }
    Ok(rows)
}

/// Waits until the start has settled: no writes for `quiet`.
async fn until_settled(client: &Client, quiet: Duration) -> Result<()> {
    let mut before = Requests::so_far(client).await?;
    loop {
        tokio::time::sleep(quiet).await;
        let now = Requests::so_far(client).await?;
        let since = now.clone().since(&before);
        if since.writes() == 0.0 {
            return Ok(());
        }
        say(format!("still writing: {}", since.written()));
        before = now;
    }
}

async fn quiet(client: &Client, operator: &Operator, lasts: Duration) -> Result<Quiet> {
    let (requests, reconciles, cpu) = (Requests::so_far(client).await?, operator.reconciles().await?, operator.cpu()?);
    tokio::time::sleep(lasts).await;
    let requests = Requests::so_far(client).await?.since(&requests);
    say(format!("writes meanwhile: {}", requests.written()));
    Ok(Quiet {
        lasted: lasts,
        reconciles: (operator.reconciles().await? - reconciles) as f64,
        cpu: operator.cpu()? - cpu,
        requests,
    })
}

fn rows(cost: Cost) -> Vec<Row> {
    let Cost { webhooks, empty, grown, settled, peak, made_in, seen_in, quiet } = cost;
    let Quiet { lasted, reconciles, cpu, requests } = quiet;
    let (seconds, cpu) = (lasted.as_secs_f64(), cpu.as_secs_f64());
    let each = (settled - empty) * 1024.0 / webhooks;
    let (writes, per_reconcile) = (requests.writes() * 3600.0 / seconds, cpu * 1e6 / reconciles);
    vec![
        Row::at_most("P9", format!("resident with {webhooks} webhooks, settled"), settled, RESIDENT_MIB, "MiB"),
        Row::at_most("P9", "of that per webhook, beyond an operator without webhooks", each, PER_WEBHOOK_KIB, "KiB"),
        Row::at_most("P9", "peak since a start with all webhooks, relative to settled", peak / settled, PEAK_SHARE, ""),
        Row::at_most(
            "P9",
            "CPU per no-op reconciliation, the whole process",
            per_reconcile,
            RECONCILE_MICROSECONDS,
            "µs",
        ),
        Row::at_most("P9", "Kubernetes writes per hour without changes, except leases", writes, 0.0, ""),
        Row::note("P9", "reconciliations per second meanwhile", format!("{:.0}", reconciles / seconds)),
        Row::at_most(
            "P9",
            "reads of the API server per reconciliation meanwhile",
            requests.reads / reconciles,
            READS_PER_RECONCILE,
            "",
        ),
        Row::note("P9", "CPU of the operator meanwhile", format!("{:.1} % of a core", cpu * 100.0 / seconds)),
        Row::note(
            "P9",
            "from an empty cluster until all are registered and ready",
            format!("{:.0} s", made_in.as_secs_f64()),
        ),
        Row::note("P9", "peak resident memory during creation", format!("{grown:.1} MiB")),
        Row::note("P9", "from a restart until all are reconciled", format!("{:.1} s", seen_in.as_secs_f64())),
    ]
}

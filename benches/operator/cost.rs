//! P9: memory, CPU per look, and writes, while nothing changes. P10 is measured in the same cluster.

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

/// What is asked for with 10,000 webhooks.
const RESIDENT_MIB: f64 = 45.0;
const PER_WEBHOOK_KIB: f64 = 3.0;
const PEAK_SHARE: f64 = 1.3;
const LOOK_MICROSECONDS: f64 = 150.0;
/// No goal of its own, but where most of the CPU time would go: a settled webhook is read in full about once in 30
/// looks.
const READS_PER_LOOK: f64 = 0.5;

/// What was found out.
#[derive(Debug)]
struct Cost {
    webhooks: f64,
    /// Resident memory in MiB: of an operator without any webhook, at most while they were made, settled after a new
    /// start, at most since that.
    empty: f64,
    grown: f64,
    settled: f64,
    peak: f64,
    /// How long it took until all were ready, and until all were looked at after the new start.
    made_in: Duration,
    seen_in: Duration,
    quiet: Quiet,
}

/// What happened while nothing changed.
#[derive(Debug)]
struct Quiet {
    lasted: Duration,
    looks: f64,
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
    say(format!("making {webhooks} webhooks"));
    let ready = workload::all_ready(&client, webhooks);
    tokio::try_join!(workload::fill(&client, &linktree, scale), ready)?;
    let made_in = begun.elapsed();
    say(format!("all are ready after {:.0} s; the operator is started again", made_in.as_secs_f64()));
    let grown = operator.peak()?;
    operator.stop()?;

    let webhooks = webhooks as f64;
    let mut operator = Operator::start(&scale.operator, receivers.proxy).await?;
    operator.wait("it has seen all", async |it| Ok(it.looks().await? as f64 >= webhooks)).await?;
    let seen_in = operator.started.elapsed();
    say(format!("all were looked at after {:.1} s; nothing changes from now on", seen_in.as_secs_f64()));
    calm(&client, scale.calm).await?;
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

/// Waits until what the start has set off is over: nothing was written for so long.
async fn calm(client: &Client, lasts: Duration) -> Result<()> {
    let mut before = Requests::so_far(client).await?;
    loop {
        tokio::time::sleep(lasts).await;
        let now = Requests::so_far(client).await?;
        let since = now.clone().since(&before);
        if since.writes() == 0.0 {
            return Ok(());
        }
        say(format!("still written: {}", since.written()));
        before = now;
    }
}

async fn quiet(client: &Client, operator: &Operator, lasts: Duration) -> Result<Quiet> {
    let (requests, looks, cpu) = (Requests::so_far(client).await?, operator.looks().await?, operator.cpu()?);
    tokio::time::sleep(lasts).await;
    let requests = Requests::so_far(client).await?.since(&requests);
    say(format!("written meanwhile: {}", requests.written()));
    Ok(Quiet { lasted: lasts, looks: (operator.looks().await? - looks) as f64, cpu: operator.cpu()? - cpu, requests })
}

fn rows(cost: Cost) -> Vec<Row> {
    let Cost { webhooks, empty, grown, settled, peak, made_in, seen_in, quiet } = cost;
    let Quiet { lasted, looks, cpu, requests } = quiet;
    let (seconds, cpu) = (lasted.as_secs_f64(), cpu.as_secs_f64());
    let each = (settled - empty) * 1024.0 / webhooks;
    let (writes, per_look) = (requests.writes() * 3600.0 / seconds, cpu * 1e6 / looks);
    vec![
        Row::at_most("P9", format!("resident with {webhooks} webhooks, settled"), settled, RESIDENT_MIB, "MiB"),
        Row::at_most("P9", "of that per webhook, beyond an operator without any", each, PER_WEBHOOK_KIB, "KiB"),
        Row::at_most("P9", "peak since a start with all of them there, by settled", peak / settled, PEAK_SHARE, ""),
        Row::at_most(
            "P9",
            "CPU per look that finds nothing to do, the whole process",
            per_look,
            LOOK_MICROSECONDS,
            "µs",
        ),
        Row::at_most("P9", "Kubernetes writes per hour while nothing changes, leases aside", writes, 0.0, ""),
        Row::note("P9", "looks per second meanwhile", format!("{:.0}", looks / seconds)),
        Row::at_most("P9", "reads of the API server per look meanwhile", requests.reads / looks, READS_PER_LOOK, ""),
        Row::note("P9", "CPU of the operator meanwhile", format!("{:.1} % of a core", cpu * 100.0 / seconds)),
        Row::note("P9", "from nothing until all are registered and ready", format!("{:.0} s", made_in.as_secs_f64())),
        Row::note("P9", "resident at most while they were made", format!("{grown:.1} MiB")),
        Row::note("P9", "from a new start until all were looked at", format!("{:.1} s", seen_in.as_secs_f64())),
    ]
}

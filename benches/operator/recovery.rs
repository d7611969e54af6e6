//! P10: the time until a disabled subscription is enabled again, and until a standby takes over.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use linktree_operator::{
    api::{
        webhook::LinktreeWebhook,
        webhook_status::{LinktreeWebhookStatus, ProbeResult, SubscriptionState},
    },
    simulator::Running,
};
use serde_json::json;
use url::Url;

use crate::{Scale, process::Operator, receivers::Receivers, say, support::benchmark_report::Row, workload};

/// The goals.
const ENABLED_AGAIN: Duration = Duration::from_secs(600);
const TAKEN_OVER: Duration = Duration::from_secs(16);
const HANDED_OVER: Duration = Duration::from_secs(2);

const SYNC: &str = "webhooks.linktree-operator.dev/sync-requested-at";

/// Disables some subscriptions with unreachable receivers, which become reachable later, and some with healthy
/// receivers, which only the next list detects.
pub(crate) async fn enabled_again(
    client: &Client,
    linktree: &Running,
    receivers: &Receivers,
    scale: &Scale,
) -> Result<Vec<Row>> {
    let count = scale.disabled;
    let group = |from: usize| Group {
        webhooks: (from..from + count).map(|number| workload::webhook(client, scale, number)).collect(),
        linktree: format!("http://{}/subscriptions", linktree.control),
        http: reqwest::Client::new(),
    };
    let (unreached, well) = (group(0), group(count));
    say(format!("disabling {count} subscriptions with unreachable receivers, and {count} with healthy ones"));
    let (mended, noticed) = tokio::try_join!(unreached.mended(receivers), well.noticed())?;
    let seconds = ENABLED_AGAIN.as_secs_f64();
    Ok([
        (format!("receiver reachable until subscription enabled, maximum of {count}"), mended),
        (format!("disabled with a healthy receiver until enabled, maximum of {count}"), noticed),
    ]
    .map(|(what, took)| Row::at_most("P10", what, took.as_secs_f64(), seconds, "s"))
    .into())
}

/// Webhooks, and the control URL for their subscriptions at Linktree.
struct Group {
    webhooks: Vec<(Api<LinktreeWebhook>, String)>,
    linktree: String,
    http: reqwest::Client,
}

impl Group {
    /// The time from reachable receivers until all subscriptions are enabled.
    async fn mended(&self, receivers: &Receivers) -> Result<Duration> {
        receivers.cut_off(self.hosts().await?);
        self.look_now("cut off").await?;
        self.until(|status| status.endpoint.as_ref().is_some_and(|it| it.last_probe_result != ProbeResult::Succeeded))
            .await?;
        self.disable().await?;
        self.look_now("disabled").await?;
        self.until(|status| status.subscription.as_ref().is_some_and(|it| it.state == SubscriptionState::Disabled))
            .await?;
        receivers.cut_off(Vec::new());
        self.until_enabled_again().await
    }

    /// The time from disabled subscriptions until all are enabled.
    async fn noticed(&self) -> Result<Duration> {
        self.disable().await?;
        self.until_enabled_again().await
    }

    async fn until_enabled_again(&self) -> Result<Duration> {
        let since = Instant::now();
        self.until(|status| {
            let subscription = status.subscription.as_ref();
            subscription.is_some_and(|it| it.state == SubscriptionState::Enabled && it.recovery.is_some())
        })
        .await?;
        Ok(since.elapsed())
    }

    async fn until(&self, holds: fn(&LinktreeWebhookStatus) -> bool) -> Result<()> {
        let all = self.webhooks.iter().map(|(api, name)| {
            await_condition(api.clone(), name, move |webhook: Option<&LinktreeWebhook>| {
                webhook.and_then(|webhook| webhook.status.as_ref()).is_some_and(holds)
            })
        });
        try_join_all(all).await?;
        Ok(())
    }

    async fn statuses(&self) -> Result<Vec<LinktreeWebhookStatus>> {
        let all = self.webhooks.iter().map(async |(api, name)| api.get(name).await);
        let all = try_join_all(all).await?;
        all.into_iter().map(|webhook| webhook.status.context("a webhook has no status")).collect()
    }

    /// The hosts of the subscriptions.
    async fn hosts(&self) -> Result<Vec<String>> {
        let host = |status: LinktreeWebhookStatus| {
            let url = Url::parse(&status.address.context("a webhook has no url")?.url)?;
            Ok(url.host_str().context("a url has no host")?.to_owned())
        };
        self.statuses().await?.into_iter().map(host).collect()
    }

    /// Disables the subscriptions at Linktree.
    async fn disable(&self) -> Result<()> {
        for status in self.statuses().await? {
            let id = status.subscription.and_then(|it| it.id).context("a webhook has no subscription")?;
            let disabled = self.http.patch(format!("{}/{id}", self.linktree)).json(&json!({"status": "disabled"}));
            disabled.send().await?.error_for_status()?;
        }
        Ok(())
    }

    /// Requests a list and a probe.
    async fn look_now(&self, why: &str) -> Result<()> {
        let asked = Patch::Merge(json!({"metadata": {"annotations": {SYNC: why}}}));
        let all = self.webhooks.iter().map(async |(api, name)| api.patch(name, &PatchParams::default(), &asked).await);
        try_join_all(all).await?;
        Ok(())
    }
}

/// Kills the leader of two operators, then terminates its successor.
pub(crate) async fn taken_over(scale: &Scale, proxy: SocketAddr) -> Result<Vec<Row>> {
    say("killing the leader of two operators");
    let mut leader = Operator::candidate(&scale.operator, proxy).await?;
    leader.until_reconciling().await?;
    let mut second = Operator::candidate(&scale.operator, proxy).await?;
    let since = Instant::now();
    // Dropping it sends SIGKILL.
    drop(leader);
    second.until_reconciling().await?;
    let killed = since.elapsed();
    let mut third = Operator::candidate(&scale.operator, proxy).await?;
    let since = Instant::now();
    second.stop()?;
    third.until_reconciling().await?;
    let ended = since.elapsed();
    third.stop()?;
    Ok([("the leader is killed", killed, TAKEN_OVER), ("the leader exits", ended, HANDED_OVER)]
        .map(|(what, took, goal)| {
            let what = format!("{what} until another operator reconciles");
            Row::at_most("P10", what, took.as_secs_f64(), goal.as_secs_f64(), "s")
        })
        .into())
}

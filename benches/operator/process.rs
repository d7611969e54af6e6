//! The operator as a child process, measured through /proc and its metrics.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The unit of the times in /proc/PID/stat (USER_HZ, which is 100 on every Linux that Rust knows).
const TICK: Duration = Duration::from_millis(10);

/// A running operator. Killed on drop.
#[derive(Debug)]
pub(crate) struct Operator {
    child: Child,
    metrics: String,
    http: reqwest::Client,
    pub(crate) started: Instant,
}

impl Operator {
    /// Starts `program` with the HTTP proxy `proxy`.
    pub(crate) async fn start(program: &Path, proxy: SocketAddr) -> Result<Self> {
        Self::start_with(program, proxy, &[]).await
    }

    /// Starts an operator with leader election.
    pub(crate) async fn candidate(program: &Path, proxy: SocketAddr) -> Result<Self> {
        Self::start_with(program, proxy, &["--leader-elect", "--lease-namespace=default"]).await
    }

    async fn start_with(program: &Path, proxy: SocketAddr, arguments: &[&str]) -> Result<Self> {
        // A port that is free at the moment.
        let metrics = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let started = Instant::now();
        let child = Command::new(program)
            .args(["operator", "--receiver-image=localhost/receiver:bench", &format!("--metrics-address={metrics}")])
            .args(arguments)
            .env("RUST_LOG", "warn")
            .env("HTTP_PROXY", format!("http://{proxy}"))
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut operator = Operator { child, metrics: format!("http://{metrics}"), http, started };
        operator.wait("it is ready", async |operator| operator.is_ready().await).await?;
        Ok(operator)
    }

    async fn is_ready(&self) -> Result<bool> {
        let answer = self.http.get(format!("{}/readyz", self.metrics)).send().await;
        Ok(answer.is_ok_and(|answer| answer.status().is_success()))
    }

    /// Waits until a condition holds; fails if the operator exits.
    pub(crate) async fn wait(&mut self, what: &str, holds: impl AsyncFn(&Self) -> Result<bool>) -> Result<()> {
        while !holds(self).await? {
            if let Some(status) = self.child.try_wait()? {
                bail!("the operator exited with {status} before {what}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Waits until it has reconciled a webhook.
    pub(crate) async fn until_reconciling(&mut self) -> Result<()> {
        self.wait("a webhook is reconciled", async |it| Ok(it.reconciles().await? > 0)).await
    }

    /// The number of webhook reconciliations.
    pub(crate) async fn reconciles(&self) -> Result<u64> {
        let metrics = self.http.get(format!("{}/metrics", self.metrics)).send().await?.text().await?;
        let of_webhooks = metrics.lines().filter(|line| line.starts_with("linktree_operator_reconciles_total"));
        let of_webhooks = of_webhooks.filter(|line| line.contains("kind=\"LinktreeWebhook\""));
        Ok(of_webhooks.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum())
    }

    /// User and system CPU time so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("the stat file has no name")?;
        let ticks = |field: usize| fields.split_whitespace().nth(field).and_then(|ticks| ticks.parse::<u32>().ok());
        // Index 0 is the third field, after the name: utime is the 14th, stime the 15th.
        let ticks = ticks(11).zip(ticks(12)).context("the stat file has no times")?;
        Ok(TICK * (ticks.0 + ticks.1))
    }

    /// Current resident memory in MiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        self.memory("VmRSS:")
    }

    /// Peak resident memory in MiB.
    pub(crate) fn peak(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes / 1024.0)
    }

    /// Sends SIGTERM and waits until it exits.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the operator exited with {status}");
        }
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

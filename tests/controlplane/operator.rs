//! The operator as a child process, with its signals, admin port and log.

use std::{
    ffi::OsStr,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::{until, until_some};

/// A running operator. Killed on drop.
pub struct Operator {
    child: Child,
    log: PathBuf,
    /// The offset of this process's lines in the log, which all operators of a test share.
    begins: usize,
    /// The admin address; known once it is [`Operator::ready`].
    admin: Option<SocketAddr>,
}

impl Operator {
    /// Starts an operator for `namespace` with the HTTP proxy `proxy`; does not wait.
    pub fn spawn(namespace: &str, proxy: SocketAddr, log: &Path) -> Self {
        Operator::spawn_with(namespace, proxy, log, &[], "HTTP_PROXY")
    }

    /// As [`Operator::spawn`], with leader election by a lease in its namespace.
    pub fn stand_for_election(namespace: &str, proxy: SocketAddr, log: &Path) -> Self {
        Operator::spawn_with(
            namespace,
            proxy,
            log,
            &["--leader-elect", &format!("--lease-namespace={namespace}")],
            "HTTP_PROXY",
        )
    }

    /// As [`Operator::spawn`], which keeps the journals of deleted webhooks for so many seconds.
    pub fn keeping_journals(namespace: &str, proxy: SocketAddr, log: &Path, seconds: u64) -> Self {
        Operator::spawn_with(namespace, proxy, log, &[&format!("--keep-journal-seconds={seconds}")], "HTTP_PROXY")
    }

    /// As [`Operator::spawn`], with `proxy` for HTTPS as well, and with this CA bundle.
    pub fn behind_edge(namespace: &str, proxy: SocketAddr, log: &Path, authority: &Path) -> Self {
        let authority = format!("--ca-file={}", authority.display());
        Operator::spawn_with(namespace, proxy, log, &[&authority], "ALL_PROXY")
    }

    /// As [`Operator::spawn`], with this kubeconfig, and for more namespaces.
    pub fn spawn_as(kubeconfig: &Path, namespaces: &[&str], proxy: SocketAddr, log: &Path) -> Self {
        let kubeconfig = [("KUBECONFIG", kubeconfig.as_os_str())];
        let more: Vec<_> =
            namespaces.iter().skip(1).map(|namespace| format!("--watch-namespace={namespace}")).collect();
        let more: Vec<_> = more.iter().map(String::as_str).collect();
        Operator::spawn_in(&kubeconfig, namespaces[0], proxy, log, &more, "HTTP_PROXY")
    }

    fn spawn_with(namespace: &str, proxy: SocketAddr, log: &Path, arguments: &[&str], through: &str) -> Self {
        Operator::spawn_in(&[], namespace, proxy, log, arguments, through)
    }

    fn spawn_in(
        environment: &[(&str, &OsStr)],
        namespace: &str,
        proxy: SocketAddr,
        log: &Path,
        arguments: &[&str],
        through: &str,
    ) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let begins = fs::read(log).unwrap().len();
        let child = Command::new(env!("CARGO_BIN_EXE_linktree-operator"))
            .args(["operator", "--metrics-address=127.0.0.1:0", "--receiver-image=localhost/receiver:test"])
            .args(["--log-format=json", "--linktree-timeout-seconds=2", &format!("--watch-namespace={namespace}")])
            .args(arguments)
            .env("RUST_LOG", "info,linktree_operator=debug")
            .envs(environment.iter().copied())
            .env(through, format!("http://{proxy}"))
            .env("NO_PROXY", "127.0.0.1")
            .stderr(file)
            .spawn()
            .unwrap();
        Operator { child, log: log.to_owned(), begins, admin: None }
    }

    /// Waits until `/readyz` succeeds.
    pub async fn ready(&mut self) {
        let address = self.address().await;
        self.admin = Some(address);
        let http = http();
        until("the operator is ready", async || {
            let answer = http.get(format!("http://{address}/readyz")).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// The response of its admin port.
    pub async fn admin(&self, path: &str) -> String {
        let address = self.admin.unwrap();
        http().get(format!("http://{address}{path}")).send().await.unwrap().text().await.unwrap()
    }

    /// The number of reconciliations of a kind.
    pub async fn reconciles(&self, kind: &str) -> u64 {
        let metrics = self.admin("/metrics").await;
        let of_kind = metrics.lines().filter(|line| line.starts_with("linktree_operator_reconciles_total"));
        let of_kind = of_kind.filter(|line| line.contains(&format!("kind=\"{kind}\"")));
        of_kind.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Kills it at once, like the loss of its node.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits until it exits.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.exited().await
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Whether it exits by itself within this number of seconds.
    pub async fn exits_within(&mut self, seconds: u64) -> bool {
        tokio::time::timeout(Duration::from_secs(seconds), self.exited()).await.is_ok()
    }

    /// Waits until it exits by itself.
    pub async fn exited(&mut self) -> ExitStatus {
        until_some("the operator exits", async || self.child.try_wait().unwrap()).await
    }

    async fn address(&mut self) -> SocketAddr {
        until_some("the operator logs its admin address", async || {
            assert_eq!(self.child.try_wait().unwrap(), None, "the operator exited");
            let log = fs::read(&self.log).unwrap();
            let own = String::from_utf8_lossy(&log[self.begins..]).into_owned();
            let line = own.lines().find(|line| line.contains("admin port"))?;
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["admin"].as_str()?.parse().ok()
        })
        .await
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

//! The real binary as a child process, traced if requested, killed on drop.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use linktree_operator::{
    linktree::secret::Secret,
    route::{self, Key, Retry, Route, Sink, StaleDeliveryPolicy, WebhookName},
};
use url::Url;

use super::deliveries::{self, Answer, PATH, SECRET, until};

/// A route with one key, and at most one sink.
pub fn route(sink: Option<SocketAddr>) -> Route {
    let sink = sink.map(|address| {
        let mut sink = Sink::new("sink", Url::parse(&format!("http://{address}/in")).unwrap());
        sink.retry = Retry { give_up_after_seconds: 86_400, delay_seconds: 1, max_delay_seconds: 1 };
        sink
    });
    Route {
        version: route::VERSION,
        webhook: WebhookName { namespace: "marketing".into(), name: "links".into() },
        path: PATH.into(),
        admin_token: Secret::new("t0ken"),
        probe_key: Secret::new("probe-k3y"),
        keys: vec![Key { name: "k1".into(), secret: Secret::new(SECRET) }],
        timestamp_tolerance_seconds: 300,
        stale_delivery_policy: StaleDeliveryPolicy::Reject,
        deduplication_window_seconds: 604_800,
        retention_seconds: 604_800,
        dead_letter_retention_seconds: 2_592_000,
        capacity_bytes: 4 << 30,
        max_body_bytes: 262_144,
        redact_fields: BTreeSet::new(),
        sinks: sink.into_iter().collect(),
        forwarding: route::Forwarding::On,
    }
}

/// Writes the route file into `directory`.
pub fn write_route(directory: &Path, route: &Route) {
    fs::write(directory.join(route::FILE), route.render().unwrap()).unwrap();
}

/// Allows sinks on this machine.
const LOCAL: &[&str] = &["--egress-allow=127.0.0.0/8"];

/// A running receiver.
pub struct Process {
    child: Child,
    /// The id of its tracer.
    tracer: Option<u32>,
    log: Arc<Mutex<Vec<String>>>,
    pub delivery: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    /// Starts a receiver with the route file and the journal in `directory`.
    ///
    /// # Errors
    /// Its log, if it exits before it listens.
    pub fn start(directory: &Path) -> Result<Self, String> {
        Process::spawn(&mut Command::new(binary()), directory, LOCAL)
    }

    /// As [`Process::start`], under `strace` with these options.
    pub fn traced(directory: &Path, trace: &Path, options: &[String]) -> Result<Self, String> {
        let mut command = Command::new("strace");
        // -D: the receiver is our child, and the tracer its child.
        command.args(["-D", "-f", "--seccomp-bpf", "-q", "-yy", "-s", "300000", "-e", "signal=none"]);
        command.arg("-o").arg(trace).args(options).arg(binary());
        Process::spawn(&mut command, directory, LOCAL)
    }

    /// As [`Process::start`], with its own `volume` of `mib` MiB, half of it occupied by the file `ballast`.
    pub fn on_volume(directory: &Path, kind: &str, mib: usize) -> Result<Self, String> {
        let mount = match kind {
            "tmpfs" => format!("mount -t tmpfs -o size={mib}m tmpfs volume"),
            _ => format!("truncate -s {}m disk; mkfs.{kind} -q -m 0 disk; mount -o loop disk volume", mib + 4),
        };
        let ballast = format!("head -c {} /dev/zero > volume/ballast", mib << 19);
        let mut command = Command::new("unshare");
        // The mount is removed with the process.
        command.args(["-m", "sh", "-euc", &format!("cd $1; shift; {mount}; {ballast}; cd /; exec \"$@\""), "sh"]);
        command.arg(directory).arg(binary());
        Process::spawn(&mut command, directory, LOCAL)
    }

    /// As [`Process::start`], by a `command` that runs its arguments.
    pub fn within(command: &mut Command, directory: &Path) -> Result<Self, String> {
        Process::spawn(command.arg(binary()), directory, LOCAL)
    }

    /// As [`Process::start`], without sinks on this machine, and with its own `hosts` file in `directory`.
    pub fn with_hosts(directory: &Path) -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-euc", "mount --bind \"$1/hosts\" /etc/hosts; shift; exec \"$@\"", "sh"]);
        command.arg(directory).arg(binary());
        Process::spawn(&mut command, directory, &[])
    }

    /// As [`Process::start`], with these limits on open files, soft and hard.
    pub fn with_files(directory: &Path, soft: usize, hard: usize) -> Result<Self, String> {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={soft}:{hard}")).arg(binary());
        Process::spawn(&mut command, directory, LOCAL)
    }

    fn spawn(command: &mut Command, directory: &Path, more: &[&str]) -> Result<Self, String> {
        let traced = command.get_program() == "strace";
        let mut child = command
            .args(["receiver", "--delivery-address=127.0.0.1:0", "--admin-address=127.0.0.1:0", "--log-format=json"])
            .args(more)
            .arg(format!("--route-file={}", directory.join(route::FILE).display()))
            .arg(format!("--journal={}", directory.join("volume/journal").display()))
            .env("TOKIO_WORKER_THREADS", "2")
            .stderr(Stdio::piped())
            .spawn()
            .expect("cannot start the binary or strace (Debian package: strace)");
        let tracer = traced.then(|| tracer(&child)).flatten();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            log += &format!("{line}\n");
            let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let (Some(delivery), Some(admin)) = (said["delivery"].as_str(), said["admin"].as_str()) {
                let (delivery, admin) = (delivery.parse().unwrap(), admin.parse().unwrap());
                let log: Arc<Mutex<Vec<String>>> = Arc::default();
                let kept = Arc::clone(&log);
                std::thread::spawn(move || {
                    lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line));
                });
                return Ok(Process { child, tracer, log, delivery, admin });
            }
        }
        child.wait().unwrap();
        until_gone(tracer);
        Err(log)
    }

    /// Its log since it listens, so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The response of `/status`; null without one.
    pub fn status(&self) -> serde_json::Value {
        deliveries::page(self.admin, "/status")
    }

    pub fn ready(&self) -> bool {
        self.readiness().0 == 200
    }

    /// The response of `/readyz`; not ready if the receiver is gone.
    pub fn readiness(&self) -> Answer {
        deliveries::get(self.admin, "/readyz").unwrap_or_default()
    }

    pub fn until_ready(&self) {
        until("the receiver is ready", || self.ready());
    }

    /// Waits until it has a route and a journal, which may be full.
    pub fn until_ready_or_full(&self) {
        until("the receiver is ready or full", || {
            let (status, why) = self.readiness();
            status == 200 || why.contains("full")
        });
    }

    /// A path in the receiver's mount namespace.
    pub fn inside(&self, path: &Path) -> std::path::PathBuf {
        Path::new(&format!("/proc/{}/root", self.child.id())).join(path.strip_prefix("/").unwrap())
    }

    /// Sends SIGKILL, and waits until the process is gone and its trace is written.
    pub fn kill(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        self.child.wait().unwrap();
        until_gone(self.tracer);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for the id of its tracer; `None` if the process has exited already.
fn tracer(child: &Child) -> Option<u32> {
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        match line("TracerPid:")?.parse().ok()? {
            0 if line("State:")?.starts_with('Z') => return None,
            0 => std::thread::sleep(Duration::from_millis(1)),
            tracer => return Some(tracer),
        }
    }
}

fn until_gone(process: Option<u32>) {
    if let Some(process) = process {
        until("the tracer has exited", || !Path::new(&format!("/proc/{process}")).exists());
    }
}

/// The binary under test: `CHAOS_BINARY`, or the one built with the tests.
fn binary() -> String {
    std::env::var("CHAOS_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_linktree-operator").to_owned())
}

/// A directory on a real disk, with an empty `volume` in it.
pub fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(directory.path().join("volume")).unwrap();
    directory
}

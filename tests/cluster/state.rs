//! The recorded state of each cluster, and its lock.
//!
//! One directory per cluster holds its record, process ids, keys, logs and data. Its `lock` is held (flock) by the
//! launcher that works on it, so a free lock on a cluster not marked `kept` means that its launcher died.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::cli::Mode;
use super::process::Identity;
use super::{interrupt, teardown};

const FIRST_PORT: u16 = 20_000;
const PORTS_PER_CLUSTER: u16 = 16;
const CLUSTERS_AT_ONCE: u16 = 200;

/// A port of the cluster. Each cluster has a block of consecutive ports, below the range for outgoing connections.
#[derive(Clone, Copy)]
pub enum Port {
    Etcd,
    EtcdPeer,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kubelet,
    KubeletHealth,
    ProxyHealth,
    ProxyMetrics,
    DnsHealth,
    DnsReady,
}

/// The part of a cluster's state that teardown needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub mode: Mode,
    /// The index of its block of ports.
    pub slot: u16,
    /// The process id of its launcher, for messages only.
    pub launcher: u32,
    /// The original values of kernel parameters that a node changes.
    pub sysctls: BTreeMap<PathBuf, String>,
}

impl Record {
    pub fn port(&self, port: Port) -> u16 {
        FIRST_PORT + self.slot * PORTS_PER_CLUSTER + port as u16
    }
}

/// A cluster's directory.
#[derive(Clone, Debug)]
pub struct State {
    pub name: String,
    pub dir: PathBuf,
}

/// An exclusive claim on a cluster. Released on drop.
pub struct Claim {
    pub state: State,
    pub record: Record,
    _lock: Flock<File>,
}

/// The parent of all clusters' directories. Not under XDG_STATE_HOME: socket paths must stay short, and node-mode
/// clusters of one machine must find each other in any environment.
fn base() -> Result<PathBuf> {
    let base = PathBuf::from(format!("/var/tmp/linktree-webhook-operator-{}", geteuid()));
    DirBuilder::new().recursive(true).mode(0o700).create(&base)?;
    let owner = fs::symlink_metadata(&base)?.uid();
    ensure!(owner == geteuid().as_raw(), "{} belongs to user {owner}, not to this user: remove it", base.display());
    Ok(base)
}

fn lock(path: &Path, how: FlockArg) -> Result<Option<Flock<File>>> {
    let file = File::options().create(true).append(true).open(path)?;
    match Flock::lock(file, how) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// The lock for creating clusters and collecting leftovers, so that two launchers never choose the same ports.
pub fn lock_all() -> Result<Flock<File>> {
    lock(&base()?.join("lock"), FlockArg::LockExclusive)?.context("the blocking lock returned EWOULDBLOCK")
}

impl State {
    /// The directory of the cluster with this name, existing or not.
    pub fn named(name: &str) -> Result<Self> {
        let valid = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        ensure!(
            valid && (1..=24).contains(&name.len()) && !name.starts_with('-'),
            "invalid cluster name `{name}`: use 1 to 24 of a-z, 0-9 and -, not starting with -"
        );
        Ok(Self { name: name.to_owned(), dir: base()?.join(name) })
    }

    /// Every cluster that has a directory.
    pub fn all() -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(base()?)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != "last-failure" {
                let name = entry.file_name().to_string_lossy().into_owned();
                found.push(Self { name, dir: entry.path() });
            }
        }
        Ok(found)
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    pub fn log(&self, program: &str) -> PathBuf {
        self.path("logs").join(format!("{program}.log"))
    }

    pub fn process_record(&self, program: &str) -> PathBuf {
        self.path("processes").join(program)
    }

    /// The recorded process of a program, alive or not.
    pub fn process(&self, program: &str) -> Option<Identity> {
        Identity::recorded(&self.process_record(program))
    }

    /// Every recorded process, alive or not.
    pub fn processes(&self) -> Vec<(String, Identity)> {
        let Ok(entries) = fs::read_dir(self.path("processes")) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter_map(|name| Some((name.clone(), self.process(&name)?))).collect()
    }

    /// The record; `None` if the launcher died before it wrote one, and so before it started a program.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.path("cluster.json")).ok()?).ok()
    }

    pub fn write_record(&self, record: &Record) -> Result<()> {
        let partial = self.path("cluster.partial");
        fs::write(&partial, serde_json::to_vec_pretty(record)?)?;
        Ok(fs::rename(partial, self.path("cluster.json"))?)
    }

    /// Marks the cluster to outlive its launcher.
    pub fn keep(&self) -> Result<()> {
        Ok(fs::write(self.path("kept"), "")?)
    }

    pub fn is_kept(&self) -> bool {
        self.path("kept").exists()
    }

    /// Takes the cluster's lock; `None` if a launcher works on it.
    pub fn try_lock(&self) -> Result<Option<Flock<File>>> {
        lock(&self.path("lock"), FlockArg::LockExclusiveNonblock)
    }
}

/// Creates and claims a cluster's directory. A node-mode cluster waits until there is no other on this machine.
pub fn claim(mode: Mode, name: &str) -> Result<Claim> {
    let state = State::named(name)?;
    let mut reported = String::new();
    loop {
        interrupt::check()?;
        let all = lock_all()?;
        teardown::collect_leftovers()?;
        ensure!(!state.dir.exists(), "the cluster {name} exists already: delete it with `cluster down --name {name}`");
        let Some(other) = other_node(mode)? else {
            let claim = create(mode, state)?;
            drop(all);
            return Ok(claim);
        };
        drop(all);
        if reported != other {
            eprintln!("[cluster] waiting for {other}");
            reported = other;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// A description of the node-mode cluster that blocks another one.
fn other_node(mode: Mode) -> Result<Option<String>> {
    if mode != Mode::Node {
        return Ok(None);
    }
    for state in State::all()? {
        let Some(record) = state.record().filter(|record| record.mode == Mode::Node) else { continue };
        let name = &state.name;
        return Ok(Some(if state.is_kept() {
            format!("the node-mode cluster {name}: delete it with `cluster down --name {name}`")
        } else {
            format!("the node-mode cluster {name} of process {}", record.launcher)
        }));
    }
    Ok(None)
}

fn create(mode: Mode, state: State) -> Result<Claim> {
    let used: Vec<u16> = State::all()?.iter().filter_map(|other| Some(other.record()?.slot)).collect();
    let Some(slot) = (0..CLUSTERS_AT_ONCE).find(|slot| !used.contains(slot) && ports_are_free(*slot)) else {
        bail!("no free block of {PORTS_PER_CLUSTER} ports from {FIRST_PORT}: delete unused clusters with `cluster gc`");
    };
    for directory in ["logs", "processes", "pki", "data"] {
        DirBuilder::new().recursive(true).mode(0o700).create(state.path(directory))?;
    }
    let lock = state.try_lock()?.context("another launcher has locked the new cluster")?;
    let record = Record { mode, slot, launcher: std::process::id(), sysctls: BTreeMap::new() };
    state.write_record(&record)?;
    Ok(Claim { state, record, _lock: lock })
}

fn ports_are_free(slot: u16) -> bool {
    let first = FIRST_PORT + slot * PORTS_PER_CLUSTER;
    (first..first + PORTS_PER_CLUSTER).all(|port| TcpListener::bind(("0.0.0.0", port)).is_ok())
}

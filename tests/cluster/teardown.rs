//! Ending a cluster from its record alone, whatever state it was left in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::cli::Mode;
use super::process::Identity;
use super::state::{self, State};
use super::{network, sweep, wait};

/// `cluster down`.
pub fn down(name: &str) -> Result<ExitCode> {
    let state = State::named(name)?;
    if !state.dir.exists() {
        eprintln!("[cluster] there is no cluster {name}");
        return Ok(ExitCode::SUCCESS);
    }
    // A launcher that was just killed may hold its lock a moment longer.
    let mut lock = None;
    wait::briefly(Duration::from_secs(1), || {
        lock = state.try_lock().ok().flatten();
        lock.is_some()
    });
    if lock.is_none() {
        let launcher = state.record().map(|record| format!(" (process {})", record.launcher)).unwrap_or_default();
        bail!(
            "a launcher{launcher} is at work on the cluster {name}; interrupt that one, and it ends the cluster itself"
        );
    }
    end(&state)?;
    Ok(ExitCode::SUCCESS)
}

/// `cluster gc`.
pub fn gc() -> Result<ExitCode> {
    let _all = state::lock_all()?;
    collect_leftovers()?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the clusters that nobody will end: their launcher died, or they were kept and the machine restarted since.
/// The caller holds the lock over all clusters.
pub fn collect_leftovers() -> Result<()> {
    for state in State::all()? {
        let alive = state.processes().iter().any(|(_, process)| process.is_alive());
        if state.is_kept() && alive {
            continue;
        }
        let Some(_lock) = state.try_lock()? else { continue };
        eprintln!("[cluster] cleaning up after {}, which a launcher left behind", state.name);
        end(&state)?;
    }
    Ok(())
}

/// Ends everything the record names and removes the directory. What fails is reported after the rest was tried, and
/// the record stays for another attempt.
pub fn end(state: &State) -> Result<()> {
    let record = state.record();
    let mut failures = Vec::new();
    // The command of a `run` whose launcher died would otherwise go on without its cluster.
    end_programs(state, &["command"]);
    if let Some(record) = record.filter(|record| record.mode == Mode::Node) {
        end_programs(state, &["kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "coredns"]);
        let steps: [(&str, Result<()>); 6] = [
            ("ending pods", sweep::pods(state)),
            ("ending containerd", end_containerd(state)),
            ("unmounting", sweep::mounts(&state.dir)),
            ("removing cgroups", sweep::cgroups(state)),
            ("removing the network", network::remove()),
            ("restoring kernel parameters", network::restore(&record)),
        ];
        failures.extend(steps.into_iter().filter_map(|(step, result)| Some(format!("{step}: {:#}", result.err()?))));
        sweep::traces(state);
    }
    let rest: Vec<String> = state.processes().into_iter().map(|(name, _)| name).collect();
    end_programs(state, &rest.iter().map(String::as_str).collect::<Vec<_>>());
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    remove_dir(&state.dir)
}

/// Sets the logs of a failed run aside, for whoever looks into it. Failing at that hides no other failure.
pub fn save_logs(state: &State) {
    match copy_logs(state) {
        Ok(saved) => eprintln!("[cluster] the logs are in {}", saved.display()),
        Err(error) => eprintln!("[cluster] the logs could not be saved: {error:#}"),
    }
}

fn copy_logs(state: &State) -> Result<PathBuf> {
    let base = state.dir.parent().context("the cluster's directory is the root")?;
    let saved = base.join("last-failure");
    if saved.exists() {
        fs::remove_dir_all(&saved)?;
    }
    fs::create_dir(&saved)?;
    for entry in fs::read_dir(state.path("logs"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), saved.join(entry.file_name()))?;
        }
    }
    Ok(saved)
}

/// Asks all of them to end, and after half a second no longer asks: nothing they hold outlives the cluster.
fn end_programs(state: &State, names: &[&str]) {
    let processes: Vec<Identity> = names.iter().filter_map(|name| state.process(name)).collect();
    for process in &processes {
        process.signal(Signal::SIGTERM);
    }
    wait::briefly(Duration::from_millis(500), || processes.iter().all(|process| !process.is_alive()));
    for process in &processes {
        process.end(Duration::ZERO);
    }
}

fn end_containerd(state: &State) -> Result<()> {
    if let Some(containerd) = state.process("containerd") {
        containerd.end(Duration::from_secs(5));
    }
    sweep::shims(state)
}

fn remove_dir(dir: &Path) -> Result<()> {
    // A bind mount left below would have its contents deleted with it.
    let left = sweep::mounts_below(dir)?;
    if let Some(mount) = left.first() {
        bail!("{} is still mounted", mount.display());
    }
    fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))
}

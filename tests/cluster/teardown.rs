//! Deletes a cluster by its record, in any state.

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
        eprintln!("[cluster] the cluster {name} does not exist");
        return Ok(ExitCode::SUCCESS);
    }
    // A launcher that was just killed may hold its lock slightly longer.
    let mut lock = None;
    wait::briefly(Duration::from_secs(1), || {
        lock = state.try_lock().ok().flatten();
        lock.is_some()
    });
    if lock.is_none() {
        let launcher = state.record().map(|record| format!(" (process {})", record.launcher)).unwrap_or_default();
        bail!("a launcher{launcher} uses the cluster {name}: interrupt it, and it deletes the cluster");
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

/// Deletes abandoned clusters: their launcher died, or the machine restarted after they were kept. The caller holds the
/// lock over all clusters.
pub fn collect_leftovers() -> Result<()> {
    for state in State::all()? {
        let alive = state.processes().iter().any(|(_, process)| process.is_alive());
        if state.is_kept() && alive {
            continue;
        }
        let Some(_lock) = state.try_lock()? else { continue };
        eprintln!("[cluster] deleting {}, whose launcher died", state.name);
        end(&state)?;
    }
    Ok(())
}

/// Stops all recorded programs and removes the directory. After a failure the other steps still run, and the record
/// stays for a retry.
pub fn end(state: &State) -> Result<()> {
    let record = state.record();
    let mut failures = Vec::new();
    // The command of a `run` whose launcher died must not continue without its cluster.
    stop_programs(state, &["command"]);
    if let Some(record) = record.filter(|record| record.mode == Mode::Node) {
        stop_programs(state, &["kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager", "coredns"]);
        let steps: [(&str, Result<()>); 6] = [
            ("stopping pods", sweep::pods(state)),
            ("stopping containerd", stop_containerd(state)),
            ("unmounting", sweep::mounts(&state.dir)),
            ("removing cgroups", sweep::cgroups(state)),
            ("removing the network", network::remove()),
            ("restoring kernel parameters", network::restore(&record)),
        ];
        failures.extend(steps.into_iter().filter_map(|(step, result)| Some(format!("{step}: {:#}", result.err()?))));
        sweep::traces(state);
    }
    let rest: Vec<String> = state.processes().into_iter().map(|(name, _)| name).collect();
    stop_programs(state, &rest.iter().map(String::as_str).collect::<Vec<_>>());
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    remove_dir(&state.dir)
}

/// Saves the logs of a failed run. An error here is printed and does not hide another one.
pub fn save_logs(state: &State) {
    match copy_logs(state) {
        Ok(saved) => eprintln!("[cluster] the logs are in {}", saved.display()),
        Err(error) => eprintln!("[cluster] cannot save the logs: {error:#}"),
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

/// Stops the programs: SIGTERM, then SIGKILL after 500 ms, since none of their data outlives the cluster.
fn stop_programs(state: &State, names: &[&str]) {
    let processes: Vec<Identity> = names.iter().filter_map(|name| state.process(name)).collect();
    for process in &processes {
        process.signal(Signal::SIGTERM);
    }
    wait::briefly(Duration::from_millis(500), || processes.iter().all(|process| !process.is_alive()));
    for process in &processes {
        process.end(Duration::ZERO);
    }
}

fn stop_containerd(state: &State) -> Result<()> {
    if let Some(containerd) = state.process("containerd") {
        containerd.end(Duration::from_secs(5));
    }
    sweep::shims(state)
}

fn remove_dir(dir: &Path) -> Result<()> {
    // The contents of a remaining bind mount would be deleted as well.
    let left = sweep::mounts_below(dir)?;
    if let Some(mount) = left.first() {
        bail!("cannot remove the cluster: {} is still mounted", mount.display());
    }
    fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))
}

//! `up`, `run` and `load`: starts a cluster, and runs a command in it.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;

use super::cli::Mode;
use super::process::Attachment;
use super::starter::Starter;
use super::state::{self, Claim, State};
use super::{control_plane, interrupt, network, node, process, teardown, tools, wait};

/// A claimed cluster. Deleted on drop, unless kept.
struct Running {
    claim: Claim,
    keep: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = teardown::end(&self.claim.state) {
            let name = &self.claim.state.name;
            eprintln!("[cluster] cannot delete {name}: {error:#}; retry with `cluster down --name {name}`");
        }
        process::reap();
    }
}

/// `cluster up`: leaves a ready cluster, or none.
pub fn up(mode: Mode, name: &str) -> Result<ExitCode> {
    let existing = State::named(name)?;
    if existing.is_kept() && existing.processes().iter().any(|(_, process)| process.is_alive()) {
        let record = existing.record().context("the cluster has no record: delete it with `cluster down`")?;
        ensure!(
            record.mode == mode,
            "the cluster {name} is up in {} mode: delete it first with `cluster down --name {name}`",
            record.mode.word()
        );
        eprintln!("[cluster] {name} is up already");
        println!("export KUBECONFIG={}", existing.kubeconfig().display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut running = bring_up(mode, name)?.0;
    running.claim.state.keep()?;
    running.keep = true;
    eprintln!("[cluster] delete it with `cluster down --name {name}`");
    println!("export KUBECONFIG={}", running.claim.state.kubeconfig().display());
    Ok(ExitCode::SUCCESS)
}

/// `cluster run`: exits with the command's code; the cluster is deleted in any case, unless kept.
pub fn run(mode: Mode, name: Option<String>, keep: bool, command: &[String]) -> Result<ExitCode> {
    let name = name.unwrap_or_else(|| format!("run-{}", std::process::id()));
    // Shims are orphans by design; as their subreaper this process can reap them (see `process::reap`).
    set_child_subreaper(true)?;
    let (mut running, bin) = bring_up(mode, &name)?;
    let state = running.claim.state.clone();
    let code = run_command(&state, &bin, command)?;
    if keep && interrupt::received().is_none() {
        state.keep()?;
        running.keep = true;
        eprintln!("[cluster] kept: export KUBECONFIG={}", state.kubeconfig().display());
    } else if code != 0 {
        teardown::save_logs(&state);
    }
    drop(running);
    Ok(ExitCode::from(code))
}

/// `cluster load`: imports an image into the node under its name in the archive.
pub fn load(archive: &Path, name: Option<&str>) -> Result<ExitCode> {
    let dir = match (name, env::var_os("LINKTREE_CLUSTER_DIR")) {
        (None, Some(dir)) => PathBuf::from(dir),
        (name, _) => State::named(name.unwrap_or("default"))?.dir,
    };
    let socket = dir.join(node::SOCKET);
    ensure!(socket.exists(), "{} is not a running node-mode cluster", dir.display());
    ensure!(archive.is_file(), "the archive {} does not exist", archive.display());
    let ctr = tools::build(Mode::Node)?.join("ctr");
    node::import(&ctr, &socket, archive)?;
    Ok(ExitCode::SUCCESS)
}

fn bring_up(mode: Mode, name: &str) -> Result<(Running, PathBuf)> {
    tools::check_machine(mode)?;
    let bin = tools::build(mode)?;
    let claim = state::claim(mode, name)?;
    let mut running = Running { claim, keep: false };
    let began = Instant::now();
    eprintln!("[cluster] starting {name} ({} mode)", mode.word());
    if let Err(error) = start(&mut running.claim, mode, &bin) {
        if interrupt::received().is_none() {
            teardown::save_logs(&running.claim.state);
        }
        return Err(error);
    }
    eprintln!("[cluster] {name} is ready after {:.1} s", began.elapsed().as_secs_f32());
    Ok((running, bin))
}

fn start(claim: &mut Claim, mode: Mode, bin: &Path) -> Result<()> {
    match mode {
        Mode::ControlPlane => {
            let mut starter = Starter::new(&claim.state, &claim.record, bin, Ipv4Addr::LOCALHOST);
            control_plane::start(&mut starter, mode)?;
            control_plane::wait_for_controllers(&mut starter)
        }
        Mode::Node => {
            network::prepare(&claim.state, &mut claim.record)?;
            let mut starter = Starter::new(&claim.state, &claim.record, bin, network::NODE_ADDRESS);
            node::start(&mut starter)
        }
    }
}

/// Runs the command in the cluster's environment and returns its exit code.
fn run_command(state: &State, bin: &Path, command: &[String]) -> Result<u8> {
    let (program, arguments) = command.split_first().context("no command given")?;
    let mut path = OsString::from(bin);
    path.push(":");
    path.push(tools::system_path());
    // At a terminal the command stays in the foreground group, so that it can read from the terminal and gets Ctrl-C.
    let attachment = if std::io::stdin().is_terminal() { Attachment::Foreground } else { Attachment::Group };
    let record = state.process_record("command");
    let mut child = process::through_become(&record, attachment, Path::new(program), arguments)
        .env("KUBECONFIG", state.kubeconfig())
        .env("PATH", path)
        .env("LINKTREE_CLUSTER_DIR", &state.dir)
        .spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            let by_signal = status.signal().map(|signal| 128 + signal);
            return Ok(u8::try_from(status.code().or(by_signal).unwrap_or(1)).unwrap_or(1));
        }
        if let Some(signal) = interrupt::received() {
            stop_command(state, &mut child);
            bail!("interrupted by {signal}; the command was stopped");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Stops the command, with 10 s for its own cleanup.
fn stop_command(state: &State, child: &mut Child) {
    let command = state.process("command");
    command.inspect(|command| command.signal(Signal::SIGTERM));
    if !wait::briefly(Duration::from_secs(10), || !matches!(child.try_wait(), Ok(None))) {
        command.inspect(|command| command.signal(Signal::SIGKILL));
    }
}

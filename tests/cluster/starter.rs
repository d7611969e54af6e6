//! Starts the programs of one cluster and monitors them until the cluster is ready.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::process::{self, Program};
use super::state::{Port, Record, State};
use super::wait::{self, Check};
use super::{interrupt, tools};

/// The deadline of each condition; generous, for a machine that builds at the same time.
const DEADLINE: Duration = Duration::from_secs(120);

/// A cluster that is starting.
pub struct Starter<'a> {
    pub state: &'a State,
    pub record: &'a Record,
    /// The directory with the pinned programs.
    pub bin: &'a Path,
    /// The API server's listen address: loopback, or the node's bridge.
    pub address: Ipv4Addr,
    programs: Vec<Program>,
}

impl<'a> Starter<'a> {
    pub fn new(state: &'a State, record: &'a Record, bin: &'a Path, address: Ipv4Addr) -> Self {
        Self { state, record, bin, address, programs: Vec::new() }
    }

    pub fn port(&self, port: Port) -> u16 {
        self.record.port(port)
    }

    /// The loopback address of a port.
    pub fn local(&self, port: Port) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port(port)).into()
    }

    pub fn pki(&self, file: &str) -> PathBuf {
        self.state.path("pki").join(file)
    }

    /// Starts one of the pinned programs. Flags are given as `("name", value)`.
    pub fn start(&mut self, name: &'static str, flags: &[(&str, String)]) -> Result<()> {
        let arguments: Vec<String> = flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        self.start_with(name, &arguments)
    }

    /// Starts one of the pinned programs with these arguments.
    pub fn start_with(&mut self, name: &'static str, arguments: &[String]) -> Result<()> {
        let record = self.state.process_record(name);
        let program = Program::start(name, &record, self.state.log(name), &self.bin.join(name), arguments)?;
        self.programs.push(program);
        Ok(())
    }

    /// Waits for a condition; fails if any program exits. The error contains the end of the log of `program`.
    pub fn wait(&mut self, what: &str, program: &str, mut check: impl FnMut(&Self) -> Result<Check>) -> Result<()> {
        let outcome = wait::until(what, DEADLINE, || {
            if let Some((exit, log)) =
                self.programs.iter_mut().find_map(|program| Some((program.exited()?, program.log.clone())))
            {
                return Err(with_tail(anyhow!("{what}: {exit}"), &log));
            }
            check(self)
        });
        outcome.map_err(|error| with_tail(error, &self.state.log(program)))
    }

    /// Waits until `kubectl` succeeds with these arguments.
    pub fn wait_kubectl(&mut self, what: &str, program: &str, arguments: &[&str]) -> Result<()> {
        self.wait(what, program, |starter| {
            let output = starter.kubectl(arguments, "")?;
            if output.status.success() {
                return Ok(Check::Holds);
            }
            Ok(Check::NotYet(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
        })
    }

    /// Runs kubectl as the administrator with `input` on its stdin.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = Command::new(self.bin.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.state.kubeconfig())
            .args(["--cache-dir", "/dev/null", "--request-timeout=5s"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A kubectl that fails early closes its stdin; its exit status is more useful than the broken pipe.
            let _ = stdin.write_all(input.as_bytes());
        }
        Ok(child.wait_with_output()?)
    }
}

/// Runs a program to completion; an error contains its stderr.
pub fn run(program: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", tools::system_path())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} {}: {}", program.display(), arguments.join(" "), stderr.trim());
    }
    Ok(())
}

fn with_tail(error: anyhow::Error, log: &Path) -> anyhow::Error {
    if interrupt::received().is_some() {
        return error;
    }
    let tail = process::tail(log);
    // Not twice: the error may contain a tail already.
    if error.to_string().contains("\n--- ") { error } else { anyhow!("{error:#}\n--- {}\n{tail}", log.display()) }
}

//! Programs that outlive the launcher: started detached, recorded by process id and start time, stopped by that record.
//!
//! A process id alone is not enough: the kernel reuses them, and `down` may run days later. The start time in
//! /proc/PID/stat distinguishes a reused id.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid, setpgid, setsid};

use super::wait;

/// A process, distinct from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub pid: i32,
    /// Clock ticks after boot, field 22 of /proc/PID/stat.
    pub start_ticks: u64,
}

/// Parses process state and start time from /proc/PID/stat.
///
/// The command name is in parentheses and may itself hold spaces and parentheses, so fields count from the last one.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some((state, start_ticks))
}

impl Identity {
    /// The live process with this id; `None` if there is none, or only a zombie.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        match parse_stat(&stat)? {
            ('Z' | 'X', _) => None,
            (_, start_ticks) => Some(Self { pid, start_ticks }),
        }
    }

    /// Reads the record of `become_program`.
    pub fn recorded(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (pid, start_ticks) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, start_ticks: start_ticks.parse().ok()? })
    }

    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Stops it: SIGTERM, then SIGKILL after `grace`. A no-op if it has exited already.
    pub fn end(self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if !wait::briefly(grace, || !self.is_alive()) {
            self.signal(Signal::SIGKILL);
            wait::briefly(Duration::from_secs(10), || !self.is_alive());
        }
    }

    /// Signals it, and its process group if it leads one.
    pub fn signal(self, signal: Signal) {
        let pid = Pid::from_raw(self.pid);
        if self.is_alive() {
            // It may exit between the check and the signal; then the error is irrelevant.
            let _ = if getpgid(Some(pid)) == Ok(pid) { killpg(pid, signal) } else { kill(pid, signal) };
        }
    }
}

/// How a program is attached to the launcher's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attachment {
    /// In its own session: it outlives the launcher, and Ctrl-C does not reach it.
    Detached,
    /// In its own process group, so that its children can be stopped with it.
    Group,
    /// In the launcher's process group: it may read from the terminal, and Ctrl-C reaches it.
    Foreground,
}

/// `cluster become`: records this process's identity, then execs the program.
///
/// The record exists before the program runs, so a launcher killed at any moment leaves no unrecorded program.
pub fn become_program(record: &Path, attachment: Attachment, command: &[String]) -> Result<ExitCode> {
    match attachment {
        Attachment::Detached => drop(setsid().context("setsid")?),
        Attachment::Group => setpgid(Pid::from_raw(0), Pid::from_raw(0)).context("setpgid")?,
        Attachment::Foreground => {}
    }
    let pid = i32::try_from(std::process::id())?;
    let identity = Identity::of(pid).context("reading this process's own start time")?;
    let partial = record.with_extension("partial");
    fs::write(&partial, format!("{} {}\n", identity.pid, identity.start_ticks))?;
    fs::rename(&partial, record)?;
    SigSet::empty().thread_set_mask()?;
    let (program, arguments) = command.split_first().context("no program given")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("running {program}"))
}

/// A command through `cluster become` in the launcher's executable.
pub fn through_become(record: &Path, attachment: Attachment, program: &Path, arguments: &[String]) -> Command {
    // Not `current_exe()`: this still names the running file after a rebuild has replaced it.
    let mut command = Command::new("/proc/self/exe");
    command.arg("become").arg("--record").arg(record).arg("--attachment");
    command.arg(match attachment {
        Attachment::Detached => "detached",
        Attachment::Group => "group",
        Attachment::Foreground => "foreground",
    });
    command.arg("--").arg(program).args(arguments);
    command
}

/// A program of the cluster that this launcher started.
pub struct Program {
    pub name: &'static str,
    pub log: PathBuf,
    child: Child,
}

impl Program {
    /// Starts it detached, with its output in `log` and its identity in `record`.
    pub fn start(name: &'static str, record: &Path, log: PathBuf, path: &Path, arguments: &[String]) -> Result<Self> {
        let output = File::options().create(true).append(true).open(&log)?;
        let child = through_become(record, Attachment::Detached, path, arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name, log, child })
    }

    /// Its exit, if it has exited.
    pub fn exited(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("{} exited unexpectedly ({status})", self.name))
    }
}

/// Reaps this launcher's exited children, in case process 1 does not reap orphans.
pub fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// The last lines of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    // Without klog's many informational lines ("I1124 …"), which rarely contain the cause.
    let informational = |line: &&str| line.starts_with('I') && line.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    let lines: Vec<&str> = text.lines().filter(|line| !informational(line)).collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Identity, parse_stat};

    #[test]
    fn a_command_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9876 4096 1";
        assert_eq!(parse_stat(stat), Some(('S', 9876)));
        assert_eq!(parse_stat("42 (cut off) S 1 42"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_time_is_not() {
        let pid = i32::try_from(std::process::id()).expect("process ids fit");
        let own = Identity::of(pid).expect("this process runs");
        assert!(own.is_alive());
        assert!(!Identity { start_ticks: own.start_ticks + 1, ..own }.is_alive());
    }
}

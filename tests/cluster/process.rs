//! Programs that outlive the launcher: started detached, written down by process id and start time, ended by that record.
//!
//! A process id alone is not enough: the kernel reuses them, and `down` may run days later. The start time in
//! /proc/PID/stat tells a recycled id from ours.

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

/// One process, told apart from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub pid: i32,
    /// Clock ticks after boot, field 22 of /proc/PID/stat.
    pub start_ticks: u64,
}

/// The fields of /proc/PID/stat that matter here: process state and start time.
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
    /// The live process with this id; none when there is none, or only a zombie.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        match parse_stat(&stat)? {
            ('Z' | 'X', _) => None,
            (_, start_ticks) => Some(Self { pid, start_ticks }),
        }
    }

    /// Reads what `become_program` wrote.
    pub fn recorded(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (pid, start_ticks) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, start_ticks: start_ticks.parse().ok()? })
    }

    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Ends it: SIGTERM, then SIGKILL after `grace`. Does nothing when it is gone already.
    pub fn end(self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if !wait::briefly(grace, || !self.is_alive()) {
            self.signal(Signal::SIGKILL);
            wait::briefly(Duration::from_secs(10), || !self.is_alive());
        }
    }

    /// Signals it, and its process group where it leads one.
    pub fn signal(self, signal: Signal) {
        let pid = Pid::from_raw(self.pid);
        if self.is_alive() {
            // It may end between the look and the signal; then there is nothing to do.
            let _ = if getpgid(Some(pid)) == Ok(pid) { killpg(pid, signal) } else { kill(pid, signal) };
        }
    }
}

/// How a program stands to the launcher's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// In a session of its own: it outlives the launcher, and Ctrl-C does not reach it.
    Detached,
    /// In a process group of its own, so that what it starts can be ended with it.
    Group,
    /// In the launcher's group: it may read from the terminal, and Ctrl-C reaches it.
    Foreground,
}

/// The body of `cluster become`: writes this process's identity down, then turns into the program.
///
/// The record exists before the program runs, so a launcher killed at any moment leaves nothing unrecorded.
pub fn become_program(record: &Path, place: Place, command: &[String]) -> Result<ExitCode> {
    match place {
        Place::Detached => drop(setsid().context("setsid")?),
        Place::Group => setpgid(Pid::from_raw(0), Pid::from_raw(0)).context("setpgid")?,
        Place::Foreground => {}
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

/// A command that goes through `cluster become`, in the launcher's own executable.
pub fn through_become(record: &Path, place: Place, program: &Path, arguments: &[String]) -> Command {
    // Not `current_exe()`: this still names the running file after a rebuild has replaced it.
    let mut command = Command::new("/proc/self/exe");
    command.arg("become").arg("--record").arg(record).arg("--place");
    command.arg(match place {
        Place::Detached => "detached",
        Place::Group => "group",
        Place::Foreground => "foreground",
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
    /// Starts it detached, its output in `log`, its identity in `record`.
    pub fn start(name: &'static str, record: &Path, log: PathBuf, path: &Path, arguments: &[String]) -> Result<Self> {
        let output = File::options().create(true).append(true).open(&log)?;
        let child = through_become(record, Place::Detached, path, arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name, log, child })
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("{} ended by itself ({status})", self.name))
    }
}

/// Takes leave of this launcher's ended children, so that no zombie stays where process 1 does not care for orphans.
pub fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// The last lines of a log, for a person who has to find out why.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    // klog's informational lines ("I1124 …") are many and seldom say why.
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

//! Processes under test: started on core 0, measured through /proc, and killed on drop.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sched::{CpuSet, sched_setaffinity},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The core of the servers.
const SERVER_CORE: usize = 0;
/// The core of the generator and the sinks.
const GENERATOR_CORE: usize = 1;
/// The unit of the times in /proc/PID/stat (USER_HZ, which is 100 on every Linux that Rust knows).
const TICK: Duration = Duration::from_millis(10);
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server. Killed on drop.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The time from the start of the process until it is ready.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts `command` on the servers' core and waits until `address` answers an unsigned request to `path` with one
    /// of `statuses`.
    pub(crate) fn start(mut command: Command, address: SocketAddr, path: &str, statuses: &[&str]) -> Result<Self> {
        pin(SERVER_CORE)?;
        let began = Instant::now();
        let spawned = command.stdin(Stdio::null()).spawn();
        pin(GENERATOR_CORE)?;
        let child = spawned.with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Server { child, address, started_in: Duration::ZERO };
        while !probe(address, path).is_ok_and(|status| statuses.contains(&status.as_str())) {
            if let Some(status) = server.child.try_wait()? {
                bail!("{command:?} exited with {status}");
            }
            if began.elapsed() > START_TIMEOUT {
                bail!("{command:?} does not answer on {address}");
            }
            thread::sleep(Duration::from_millis(1));
        }
        server.started_in = began.elapsed();
        Ok(server)
    }

    /// User and system time of the process, its threads, and its exited children.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(") ").context("stat")?;
        let ticks = fields.split(' ').skip(11).take(4).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }

    /// Resident memory in MiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// Peak resident memory in MiB.
    pub(crate) fn peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("status")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        let _ = kill(process, Signal::SIGTERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > STOP_TIMEOUT {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The status of the response to an unsigned request.
fn probe(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).context("no status")?.to_owned())
}

/// Pins this thread, and threads it starts later, to the generator's core.
pub(crate) fn pin_generator() -> Result<()> {
    pin(GENERATOR_CORE)
}

/// Without that core nothing is pinned, and the results are not meaningful.
fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    match sched_setaffinity(Pid::from_raw(0), &set) {
        Err(Errno::EINVAL) => Ok(()),
        result => Ok(result?),
    }
}

/// A port that is free at the moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

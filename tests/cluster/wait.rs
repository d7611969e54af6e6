//! Waits for a condition with a deadline; the launcher waits in no other way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::interrupt;

/// The result of one check of a condition.
pub enum Check {
    /// The condition holds.
    Holds,
    /// The condition does not hold yet; the observed state.
    NotYet(String),
}

impl From<bool> for Check {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::NotYet("not yet".to_owned()) }
    }
}

/// Calls `check` until the condition holds. An error of `check` ends the wait at once; the error at the deadline
/// contains the last observed state.
pub fn until(what: &str, deadline: Duration, mut check: impl FnMut() -> Result<Check>) -> Result<()> {
    let began = Instant::now();
    loop {
        interrupt::check()?;
        let Check::NotYet(seen) = check()? else { return Ok(()) };
        if began.elapsed() > deadline {
            bail!("timed out after {} s waiting until {what}; last observed: {seen}", deadline.as_secs());
        }
        thread::sleep(Duration::from_millis(150));
    }
}

/// Waits until `done` returns true; false at the deadline. For teardown, where a signal must not shorten the wait.
pub fn briefly(deadline: Duration, mut done: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Checks that a plain HTTP health endpoint answers 200.
pub fn http_ok(address: SocketAddr, path: &str) -> Check {
    let request = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(String::from_utf8_lossy(&status).into_owned())
    };
    match request() {
        Ok(status) if status.ends_with("200") => Check::Holds,
        Ok(status) => Check::NotYet(format!("{address}{path} answered {status}")),
        Err(error) => Check::NotYet(format!("{address}{path}: {error}")),
    }
}

//! Waiting for a condition with a deadline: the only way the launcher waits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::interrupt;

/// What a look at a condition found.
pub enum Look {
    /// It holds.
    Holds,
    /// It does not hold yet, and this is what was seen instead.
    NotYet(String),
}

impl From<bool> for Look {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::NotYet("not yet".to_owned()) }
    }
}

/// Looks until the condition holds. An error of `look` ends the wait at once; at the deadline the error says what was
/// last seen.
pub fn until(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<Look>) -> Result<()> {
    let began = Instant::now();
    loop {
        interrupt::check()?;
        let Look::NotYet(seen) = look()? else { return Ok(()) };
        if began.elapsed() > deadline {
            bail!("{what}: not so after {} s; last seen: {seen}", deadline.as_secs());
        }
        thread::sleep(Duration::from_millis(150));
    }
}

/// True as soon as `done` is, false at the deadline; for ending things, where a signal must not cut the wait short.
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

/// Whether a plain HTTP health endpoint answers 200.
pub fn http_ok(address: SocketAddr, path: &str) -> Look {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(String::from_utf8_lossy(&status).into_owned())
    };
    match ask() {
        Ok(status) if status.ends_with("200") => Look::Holds,
        Ok(status) => Look::NotYet(format!("{address}{path} answers {status}")),
        Err(error) => Look::NotYet(format!("{address}{path}: {error}")),
    }
}

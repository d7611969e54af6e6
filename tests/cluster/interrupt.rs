//! SIGINT and SIGTERM as a flag that every wait checks, so that an interrupted launcher still stops its programs.

use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use anyhow::{Result, bail};
use nix::sys::signal::{SigSet, Signal};

static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// Converts both signals into the flag from now on. Must run before any other thread starts.
pub fn listen() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    // Blocked in every thread and received by one: no handler, hence no unsafe code. Child processes inherit the mask;
    // `cluster become` clears it.
    signals.thread_block()?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            RECEIVED.store(signal as i32, Ordering::SeqCst);
        }
    });
    Ok(())
}

/// The received signal, if any.
pub fn received() -> Option<Signal> {
    Signal::try_from(RECEIVED.load(Ordering::SeqCst)).ok()
}

/// The exit code for that signal, by the shell's convention.
pub fn exit_code() -> Option<ExitCode> {
    Some(ExitCode::from(128 + u8::try_from(received()? as i32).ok()?))
}

/// Fails once a signal was received.
pub fn check() -> Result<()> {
    match received() {
        Some(signal) => bail!("interrupted by {signal}"),
        None => Ok(()),
    }
}

//! `kubectl port-forward`: access to a port inside any cluster.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Stdio},
    thread,
};

use anyhow::{Context, Result};

use crate::call::kubectl;

/// A running port-forward. Stopped on drop.
#[derive(Debug)]
pub struct PortForward {
    child: Child,
    port: u16,
}

impl PortForward {
    /// Starts `kubectl port-forward` with these words, and returns when it listens.
    ///
    /// # Errors
    /// If kubectl exits without forwarding.
    pub fn start(words: &str) -> Result<Self> {
        let call = kubectl(&format!("port-forward {words}"));
        let mut command = call.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut forward = PortForward { child: command.spawn()?, port: 0 };
        // "Forwarding from 127.0.0.1:40123 -> 8082"
        let mut stdout = BufReader::new(forward.child.stdout.take().context("standard output is not a pipe")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let port = line.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split(' ').next());
        forward.port = port
            .and_then(|port| port.parse().ok())
            .with_context(|| format!("`{call}` printed no port: {}", line.trim()))?;
        // kubectl prints a line for every connection, and would exit if its output were closed. The thread ends with
        // kubectl.
        thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        Ok(forward)
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether kubectl has exited, as it does when the pod is gone.
    pub fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        // It may have exited already; then both calls fail without harm.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

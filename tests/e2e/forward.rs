//! `kubectl port-forward`: the way to a port inside the cluster that works for every cluster. Ended when dropped.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Stdio},
    thread,
};

use anyhow::{Context, Result};

use crate::call::kubectl;

#[derive(Debug)]
pub struct Forward {
    child: Child,
    port: u16,
}

impl Forward {
    /// Forwards to what these words of `kubectl port-forward` name, and returns when it does.
    ///
    /// # Errors
    /// When kubectl ends without forwarding.
    pub fn start(words: &str) -> Result<Self> {
        let call = kubectl(&format!("port-forward {words}"));
        let mut command = call.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut forward = Forward { child: command.spawn()?, port: 0 };
        // "Forwarding from 127.0.0.1:40123 -> 8082"
        let mut stdout = BufReader::new(forward.child.stdout.take().context("its output is a pipe")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let port = line.split_once("127.0.0.1:").and_then(|(_, rest)| rest.split(' ').next());
        forward.port = port.and_then(|port| port.parse().ok()).with_context(|| format!("`{call}` said {line:?}"))?;
        // It prints a line for every connection, and would end when nobody reads them. The thread ends with kubectl.
        thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        Ok(forward)
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether kubectl has ended, as it does when the pod has.
    pub fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is taken leave of.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

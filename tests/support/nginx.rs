//! Debian's nginx as a public edge: it terminates TLS on this machine and handles every request by given directives.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::certificate_authority::Certificate;

/// An nginx with its own directory. Stopped on drop.
#[derive(Debug)]
pub struct Nginx {
    directory: PathBuf,
    pub address: SocketAddr,
    running: Option<Child>,
}

impl Nginx {
    /// Creates an nginx that is not started yet.
    ///
    /// # Errors
    /// If its directory cannot be created.
    pub fn new(directory: &Path, address: SocketAddr) -> Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Nginx { directory: directory.to_owned(), address, running: None })
    }

    /// Sets the certificate for the next start.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_certificate(&self, Certificate { own, chain, key }: &Certificate) -> Result<()> {
        fs::write(self.directory.join("tls.crt"), format!("{own}{chain}"))?;
        Ok(fs::write(self.directory.join("tls.key"), key)?)
    }

    /// Sets the nginx directives for every request from the next start.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn set_directives(&self, directives: &str) -> Result<()> {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {}/tmp-{of};", self.directory.display()))
            .join("\n");
        let configuration = format!(
            "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log error.log;\nevents {{}}\nhttp {{\n{temporary}\n\
             access_log off;\nserver {{\nlisten {} ssl;\nssl_certificate tls.crt;\nssl_certificate_key tls.key;\n\
             location / {{ {directives} }}\n}}\n}}\n",
            self.address,
        );
        Ok(fs::write(self.directory.join("nginx.conf"), configuration)?)
    }

    /// Starts nginx with the current configuration, after the running one has exited: no response of the old one
    /// arrives later.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn start(&mut self) -> Result<()> {
        self.stop();
        let mut command = Command::new("nginx");
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.args(["-c", "nginx.conf", "-e", "error.log", "-p"]).arg(&self.directory).stdin(Stdio::null());
        self.running = Some(command.spawn().context("cannot run nginx: install it with `make setup`")?);
        Ok(())
    }

    /// Stops nginx and waits until it has exited.
    pub fn stop(&mut self) {
        let Some(mut nginx) = self.running.take() else { return };
        // It may have exited already; then the signal fails, and the wait reaps it.
        if let Ok(id) = i32::try_from(nginx.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let _ = nginx.wait();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.stop();
    }
}

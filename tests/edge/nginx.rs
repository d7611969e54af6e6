//! Debian's nginx as an edge: it ends TLS at an address of this machine, and does with every request what it is told.

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

use crate::authority::Certificate;

/// An nginx with a directory of its own. Ended when it is dropped.
#[derive(Debug)]
pub struct Nginx {
    directory: PathBuf,
    pub address: SocketAddr,
    running: Option<Child>,
}

impl Nginx {
    /// One that is not there yet.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn new(directory: &Path, address: SocketAddr) -> Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Nginx { directory: directory.to_owned(), address, running: None })
    }

    /// Has it show this certificate from its next start on.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn show(&self, Certificate { own, chain, key }: &Certificate) -> Result<()> {
        fs::write(self.directory.join("tls.crt"), format!("{own}{chain}"))?;
        Ok(fs::write(self.directory.join("tls.key"), key)?)
    }

    /// Has it do this with every request from its next start on: directives of nginx.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn answer(&self, directives: &str) -> Result<()> {
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

    /// Starts it as it is to be now, in the place of one that runs: no answer of that one's comes later.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start(&mut self) -> Result<()> {
        self.end();
        let mut command = Command::new("nginx");
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.args(["-c", "nginx.conf", "-e", "error.log", "-p"]).arg(&self.directory).stdin(Stdio::null());
        self.running = Some(command.spawn().context("nginx cannot be run: `make setup` installs it")?);
        Ok(())
    }

    /// It is not there any more.
    pub fn end(&mut self) {
        let Some(mut nginx) = self.running.take() else { return };
        // It may have ended by itself; either way it is taken leave of.
        if let Ok(id) = i32::try_from(nginx.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let _ = nginx.wait();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.end();
    }
}

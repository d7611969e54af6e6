//! The command line: arguments and dispatch.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::process::Attachment;
use super::{interrupt, lifecycle, process, teardown, tools};

/// Starts and deletes real Kubernetes clusters on this machine
#[derive(Parser)]
#[command(name = "cluster")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The extent of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// etcd, kube-apiserver and the controllers for namespaces, owner references and ServiceAccounts
    ControlPlane,
    /// also a node: pods run, Services and DNS resolve
    Node,
}

impl Mode {
    /// Its name on command lines and in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Node => "node",
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Build the pinned programs into the cache (done by `up` and `run` as well)
    Tools {
        #[arg(long, default_value = "node")]
        mode: Mode,
    },
    /// Start a cluster that outlives this command; the last line printed is the KUBECONFIG to export
    Up {
        #[arg(long, default_value = "control-plane")]
        mode: Mode,
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Delete a cluster, even if a crash left it half started
    Down {
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Start a cluster, run a command with KUBECONFIG and PATH set, delete the cluster, exit with the command's code
    Run {
        #[arg(long, default_value = "control-plane")]
        mode: Mode,
        #[arg(long)]
        name: Option<String>,
        /// Keep the cluster running at the end
        #[arg(long)]
        keep: bool,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Import an OCI archive into the node's container runtime
    Load {
        archive: PathBuf,
        /// Default: the cluster that this command runs in, else `default`
        #[arg(long)]
        name: Option<String>,
    },
    /// Delete the clusters whose launcher died
    Gc,
    /// Record this process's id, then exec a program (the launcher starts its programs through this)
    #[command(hide = true)]
    Become {
        #[arg(long)]
        record: PathBuf,
        #[arg(long)]
        attachment: Attachment,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// Parses the arguments and runs the command; prints an error as one sentence to stderr.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cluster: {error:#}");
            interrupt::exit_code().unwrap_or(ExitCode::FAILURE)
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Become { record, attachment, command } => process::become_program(&record, attachment, &command),
        Command::Tools { mode } => {
            println!("{}", tools::build(mode)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Up { mode, name } => {
            interrupt::listen()?;
            lifecycle::up(mode, &name)
        }
        Command::Down { name } => teardown::down(&name),
        Command::Run { mode, name, keep, command } => {
            interrupt::listen()?;
            lifecycle::run(mode, name, keep, &command)
        }
        Command::Load { archive, name } => lifecycle::load(&archive, name.as_deref()),
        Command::Gc => teardown::gc(),
    }
}

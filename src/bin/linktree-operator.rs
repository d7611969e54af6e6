//! The one binary of the image: `operator`, `receiver`, `simulator`, `crds`.

use std::{error::Error, io::Write, process::ExitCode};

use clap::{Parser, Subcommand};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use linktree_operator::{
    receiver, shutdown, simulator,
    telemetry::{self, LogFormat},
};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written to stderr. `RUST_LOG` chooses which.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Verify deliveries, keep them, forward them.
    Receiver(receiver::Args),
    /// Simulate Linktree: its API on one port, control endpoints on another.
    Simulator(simulator::Args),
    /// Print the custom resource definitions as YAML.
    Crds,
}

fn main() -> ExitCode {
    // One TLS provider for everything; it can only be installed once, and nobody was here before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Arguments { command, log_format } = Arguments::parse();
    let result = telemetry::init(log_format).map_err(Into::into).and_then(|()| match command {
        Command::Receiver(args) => serve(|shutdown| receiver::run(args, shutdown)),
        Command::Simulator(args) => serve(|shutdown| simulator::run(args, shutdown)),
        Command::Crds => print_crds(&linktree_operator::api::crds()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a service until it ends or a signal ends it.
fn serve<S, E>(service: impl FnOnce(CancellationToken) -> S) -> Result<(), Box<dyn Error>>
where
    S: Future<Output = Result<(), E>>,
    E: Error + 'static,
{
    tokio::runtime::Runtime::new()?.block_on(async { Ok(service(shutdown::on_signal()?).await?) })
}

fn print_crds(crds: &[CustomResourceDefinition]) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for crd in crds {
        write!(out, "---\n{}", serde_yaml_ng::to_string(crd)?)?;
    }
    Ok(())
}

//! The one binary of the image: `operator`, `receiver`, `simulator`, `crds`.

use std::{error::Error, io::Write};

use clap::{Parser, Subcommand};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use linktree_operator::{
    api, shutdown, simulator,
    telemetry::{self, LogFormat},
};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// How log lines are written, to stderr. RUST_LOG chooses which.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Simulate Linktree: its API on one port, control endpoints on another.
    Simulator(simulator::Args),
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { log_format, command } = Arguments::parse();
    match command {
        Command::Crds => print_crds(&api::crds()),
        Command::Simulator(args) => {
            telemetry::init(log_format)?;
            simulate(&args)
        }
    }
}

#[tokio::main]
async fn simulate(args: &simulator::Args) -> Result<(), Box<dyn Error>> {
    Ok(simulator::run(args, shutdown::on_signal()?).await?)
}

fn print_crds(crds: &[CustomResourceDefinition]) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for crd in crds {
        write!(out, "---\n{}", serde_yaml_ng::to_string(crd)?)?;
    }
    Ok(())
}

//! The one binary of the image: `operator`, `receiver`, `simulator`, `crds`.

use std::io::Write;

use clap::{Parser, Subcommand};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions as YAML.
    Crds,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Arguments::parse().command {
        Command::Crds => print_crds(&linktree_operator::api::crds()),
    }
}

fn print_crds(crds: &[CustomResourceDefinition]) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for crd in crds {
        write!(out, "---\n{}", serde_yaml_ng::to_string(crd)?)?;
    }
    Ok(())
}

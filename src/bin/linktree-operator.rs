//! The binary of the image, with the commands `operator`, `receiver`, `simulator` and `crds`.

use std::{error::Error, io::Write, process::ExitCode};

use clap::{Parser, Subcommand};
use linktree_operator::{
    api, operator, receiver, shutdown, simulator,
    telemetry::{self, LogFormat},
};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Format of the log lines on stderr. RUST_LOG filters them: error, warn, info, debug, trace, or TARGET=LEVEL for a
    /// module, separated by commas.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Reconcile LinktreeConnections and LinktreeWebhooks.
    Operator(operator::Args),
    /// Verify, store and forward deliveries.
    Receiver(receiver::Args),
    /// Simulate Linktree: its API on one port, control endpoints on another.
    Simulator(simulator::Args),
}

fn main() -> ExitCode {
    let Err(error) = run(Arguments::parse()) else { return ExitCode::SUCCESS };
    telemetry::report(error.as_ref());
    ExitCode::FAILURE
}

fn run(Arguments { command, log_format }: Arguments) -> Result<(), Box<dyn Error>> {
    telemetry::init(log_format)?;
    // One TLS provider for the whole process. Installation fails only if one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match command {
        Command::Crds => {
            let crds = api::crds().iter().map(serde_yaml_ng::to_string).collect::<Result<Vec<_>, _>>()?;
            Ok(std::io::stdout().write_all(format!("---\n{}", crds.join("---\n")).as_bytes())?)
        }
        // The operator is IO-bound: more threads would cost memory and wake-ups.
        Command::Operator(args) => serve(Builder::new_current_thread(), |shutdown| operator::run(args, shutdown)),
        Command::Receiver(args) => serve(Builder::new_multi_thread(), |shutdown| receiver::run(args, shutdown)),
        Command::Simulator(args) => serve(Builder::new_multi_thread(), |shutdown| simulator::run(args, shutdown)),
    }
}

/// Runs a command's service until it returns or SIGTERM or SIGINT stops it.
fn serve<S, E>(mut threads: Builder, service: impl FnOnce(CancellationToken) -> S) -> Result<(), Box<dyn Error>>
where
    S: Future<Output = Result<(), E>>,
    E: Into<Box<dyn Error>>,
{
    threads.enable_all().build()?.block_on(async { service(shutdown::on_signal()?).await.map_err(Into::into) })
}

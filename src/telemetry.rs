//! Logging to stderr, as text for users or JSON for collectors, filtered by `RUST_LOG`. Standard output is reserved for
//! the output of commands.

use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, ParseError, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Our own crate, whose lines contain no secret.
const OURS: &str = env!("CARGO_CRATE_NAME");
/// Crates whose lines are never logged: they quote bodies, such as that of a Secret that kube cannot parse.
const NEVER: [&str; 4] = ["kube", "kube_client", "kube_core", "kube_runtime"];

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging, once per process. `RUST_LOG` filters; the default is `info`.
///
/// # Errors
/// When `RUST_LOG` is invalid, or logging has already started.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let requested = requested(&std::env::var_os("RUST_LOG").unwrap_or_default().to_string_lossy())?;
    let filter = requested.and(without_contents());
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => Registry::default().with(lines.with_ansi(false).with_filter(filter)).try_init()?,
        LogFormat::Json => {
            Registry::default().with(lines.json().flatten_event(true).with_filter(filter)).try_init()?;
        }
    }
    Ok(())
}

/// The filter that a value of `RUST_LOG` asks for; an empty one asks for `info`.
fn requested(rust_log: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(if rust_log.is_empty() { "info" } else { rust_log })
}

/// The filter of lines that may contain a secret, whatever `RUST_LOG` asks for. Other crates log headers, frames and
/// bodies at the levels below WARN; kube does so at WARN, too.
fn without_contents() -> Targets {
    let never = NEVER.map(|target| (target, LevelFilter::OFF));
    Targets::new().with_default(LevelFilter::WARN).with_target(OURS, LevelFilter::TRACE).with_targets(never)
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("RUST_LOG is not a valid filter: {0}")]
    Filter(#[from] ParseError),
    #[error(transparent)]
    AlreadyStarted(#[from] tracing_subscriber::util::TryInitError),
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn lines_that_may_contain_secrets_are_never_logged() {
        let filter = without_contents();
        for (target, level, logged) in [
            ("linktree_operator::operator", Level::TRACE, true),
            ("hyper::proto::h1", Level::WARN, true),
            ("hyper::proto::h1", Level::INFO, false),
            ("h2::codec", Level::TRACE, false),
            ("rustls::client", Level::DEBUG, false),
            ("kube_client::client", Level::WARN, false),
            ("kube_client::client::builder", Level::ERROR, false),
            ("kube_runtime::watcher", Level::ERROR, false),
        ] {
            assert_eq!(filter.would_enable(target, &level), logged, "{target} {level}");
        }
    }

    #[test]
    fn an_empty_filter_asks_for_info_and_an_invalid_one_is_an_error() {
        assert_eq!(requested("").unwrap().to_string(), "info");
        assert_eq!(requested("debug").unwrap().to_string(), "debug");
        assert!(requested("info,=,").is_err());
    }
}

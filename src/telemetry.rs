//! Logging to stderr, as text for users or JSON for collectors, filtered by `RUST_LOG`. Standard output is reserved for
//! the output of commands.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt, util::SubscriberInitExt};

/// The target of kube's own log lines about failed requests. They name neither method nor URL, and repeat what the
/// operator's lines say, so they are off unless `RUST_LOG` names the target.
const KUBE_REQUESTS: &str = "kube_client::client::builder";

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
    let filter = filter(&std::env::var_os("RUST_LOG").unwrap_or_default().to_string_lossy())?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(false).finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// The filter that a value of `RUST_LOG` asks for; an empty one asks for `info`.
fn filter(rust_log: &str) -> Result<EnvFilter, ParseError> {
    let directives = if rust_log.is_empty() { "info" } else { rust_log };
    if directives.contains(KUBE_REQUESTS) {
        EnvFilter::builder().parse(directives)
    } else {
        EnvFilter::builder().parse(format!("{directives},{KUBE_REQUESTS}=off"))
    }
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
    use super::*;

    #[test]
    fn kubes_lines_about_requests_are_off_unless_they_are_asked_for() {
        for (rust_log, directives) in [
            ("", "kube_client::client::builder=off,info"),
            ("debug", "kube_client::client::builder=off,debug"),
            ("linktree_operator=trace", "kube_client::client::builder=off,linktree_operator=trace"),
            ("info,kube_client::client::builder=debug", "kube_client::client::builder=debug,info"),
        ] {
            assert_eq!(filter(rust_log).unwrap().to_string(), directives, "{rust_log:?}");
        }
        assert!(filter("info,=,").is_err());
    }
}

//! Logging to stderr, as text for users or JSON for collectors, filtered by `RUST_LOG`. Standard output is reserved for
//! the output of commands.

use std::{env, error::Error, io::Write, iter};

use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, ParseError, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// The level of everything that `RUST_LOG` does not name.
const DEFAULT: &str = "info";
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

/// Starts logging, once per process. `RUST_LOG` filters; what it does not name has the level `info`.
///
/// # Errors
/// When `RUST_LOG` is invalid, or logging has already started.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let requested = requested(&env::var_os("RUST_LOG").unwrap_or_default().to_string_lossy())?;
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

/// Reports why the process ends: in the log or, if that has not started or is muted, directly on stderr.
pub fn report(error: &(dyn Error + 'static)) {
    let problem = with_causes(error);
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{problem}");
    } else {
        // Nothing is left to report to if stderr is closed.
        let _ = writeln!(std::io::stderr(), "linktree-operator: {problem}");
    }
}

/// The message of an error, with those of its causes that it does not include.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |message, cause| {
        let cause = cause.to_string();
        if message.contains(&cause) { message } else { format!("{message}: {cause}") }
    })
}

/// Checks a value of `RUST_LOG`.
///
/// # Errors
/// When it is not a valid filter.
pub fn check(rust_log: &str) -> Result<(), TelemetryError> {
    requested(rust_log).map(drop)
}

/// The filter that a value of `RUST_LOG` asks for: levels and `TARGET=LEVEL`, separated by commas. What no directive is
/// about has the level `info`.
///
/// tracing takes a word that is no level for a target: `warning` would mute everything except a module of that name.
fn requested(rust_log: &str) -> Result<EnvFilter, TelemetryError> {
    let directives: Vec<&str> = rust_log.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if let Some(unknown) = directives.iter().find(|directive| !is_level(level(directive))) {
        return Err(TelemetryError::Level((*unknown).to_owned()));
    }
    let default = if directives.iter().any(|directive| is_level(directive)) { None } else { Some(DEFAULT) };
    let directives: Vec<&str> = default.into_iter().chain(directives).collect();
    Ok(EnvFilter::builder().parse(directives.join(","))?)
}

/// The level that a directive names: all of it, or what follows its target.
fn level(directive: &str) -> &str {
    directive.rsplit_once('=').map_or(directive, |(_, level)| level)
}

fn is_level(word: &str) -> bool {
    // `LevelFilter` takes no word for `error`.
    !word.is_empty() && word.parse::<LevelFilter>().is_ok()
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
    #[error(
        "RUST_LOG has the directive \"{0}\" without a level that exists: use error, warn, info, debug or trace, or \
         TARGET=LEVEL for a module, such as linktree_operator::operator=debug (in the chart: logLevel)"
    )]
    Level(String),
    #[error(
        "RUST_LOG is not a valid filter ({0}): separate levels and TARGET=LEVEL by commas, such as \
         info,linktree_operator::operator=debug (in the chart: logLevel)"
    )]
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

    fn problem(rust_log: &str) -> String {
        requested(rust_log).unwrap_err().to_string()
    }

    #[test]
    fn the_report_has_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{message}")]
        struct Caused {
            message: &'static str,
            source: std::io::Error,
        }
        let caused = |message| Caused { message, source: std::io::Error::other("no route") };
        assert_eq!(with_causes(&caused("cannot connect")), "cannot connect: no route");
        assert_eq!(with_causes(&caused("cannot connect (no route): wait")), "cannot connect (no route): wait");
    }

    #[test]
    fn a_filter_mutes_nothing_that_it_does_not_name() {
        for (rust_log, filter) in [
            ("", "info"),
            (" , ", "info"),
            ("debug", "debug"),
            ("WARN", "warn"),
            ("off", "off"),
            ("linktree_operator::operator=debug", "linktree_operator::operator=debug,info"),
            ("info, linktree_operator::receiver=trace", "linktree_operator::receiver=trace,info"),
            ("warn,hyper=off", "hyper=off,warn"),
        ] {
            assert_eq!(requested(rust_log).unwrap().to_string(), filter, "{rust_log}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_an_error_that_names_it() {
        for (rust_log, directive) in [
            ("warning", "warning"),
            ("info,verbose", "verbose"),
            ("linktree_operator", "linktree_operator"),
            ("linktree_operator=loud", "linktree_operator=loud"),
            ("debug,linktree_operator=", "linktree_operator="),
            ("info;debug", "info;debug"),
            ("info debug", "info debug"),
            ("6", "6"),
        ] {
            let expected = format!("RUST_LOG has the directive \"{directive}\" without a level that exists: use error");
            assert!(problem(rust_log).starts_with(&expected), "{rust_log}: {}", problem(rust_log));
        }
        for rust_log in ["==info", "[x=info"] {
            let expected = "RUST_LOG is not a valid filter (";
            assert!(problem(rust_log).starts_with(expected), "{rust_log}: {}", problem(rust_log));
        }
    }
}

//! The limit on open files. Container runtimes start processes with a soft limit of 1,024, for programs that use
//! `select(2)`; this one does not, and may raise it to the hard limit itself.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The soft limit that is assumed if the system does not report it.
const COMMON: u64 = 1024;

/// Raises the soft limit of this process to the hard limit. Returns the number of files that it can have open.
pub fn raise_limit() -> usize {
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(error) => {
                tracing::warn!(%error, soft, hard, "cannot raise the limit on open files");
                soft
            }
        },
        Ok((soft, _)) => soft,
        Err(error) => {
            tracing::warn!(%error, "cannot read the limit on open files");
            COMMON
        }
    };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_limit() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(512), hard).unwrap();
        assert_eq!(raise_limit() as u64, hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert_eq!(raise_limit() as u64, hard, "it stays");
    }
}

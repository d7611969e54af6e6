//! The memory limit of the process's control group.

use std::{fs, path::Path};

/// The limit in bytes; `None` without a limit, and outside Linux.
#[must_use]
pub fn read() -> Option<u64> {
    // Version 2 and version 1, as mounted in a container.
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    files.iter().filter_map(|file| parse(&fs::read_to_string(Path::new(file)).ok()?)).min()
}

/// The largest body of a delivery that the memory limit permits: an eighth of it, because a body exists several times
/// while it is received and sent.
#[must_use]
pub fn largest_body() -> u64 {
    read().map_or(u64::MAX, |limit| limit / 8)
}

/// The limit in a file; version 1 writes a number near 2^63 for no limit.
fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < 1 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_has_two_spellings() {
        for (text, limit) in
            [("max\n", None), ("268435456\n", Some(268_435_456)), ("9223372036854771712\n", None), ("", None)]
        {
            assert_eq!(parse(text), limit, "{text:?}");
        }
    }
}

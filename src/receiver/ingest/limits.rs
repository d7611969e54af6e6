//! The limits of the delivery port, and how many connections the process has files for. Pure.

use std::time::Duration;

use crate::serve::{Limits, WhenFull};

/// The limits where files are plentiful.
pub const LIMITS: Limits = Limits {
    connections: 1024,
    connections_per_address: 512,
    when_full: WhenFull::Wait,
    streams: 64,
    handshake: Duration::from_secs(10),
    header: Duration::from_secs(15),
    // Longer than the keep-alive of proxies (60 s is common): the proxy closes first, and no delivery meets a closed
    // connection.
    idle: Duration::from_secs(120),
    header_fields: 64,
    header_bytes: 16 * 1024,
    drain: Duration::from_secs(15),
};

/// Files that connections of senders leave for the journal, the admin port, the route file and the sinks.
const RESERVE: usize = 256;

/// The limits of a process that can have `files` files open: connections leave [`RESERVE`] of them, or half if there
/// are few.
#[must_use]
pub fn with_open_files(files: usize) -> Limits {
    let connections = LIMITS.connections.min(files - RESERVE.min(files / 2)).max(1);
    let connections_per_address = LIMITS.connections_per_address.min(connections / 2).max(1);
    Limits { connections, connections_per_address, ..LIMITS }
}

/// Files that the process needs besides connections of senders and to sinks: the journal's, the admin port's
/// connections, the listeners and the route file.
const OWN: usize = 96;

/// How many connections to sinks a process can have that can have `files` files open.
#[must_use]
pub fn connections_to_sinks(files: usize) -> usize {
    files.saturating_sub(with_open_files(files).connections + OWN).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (files, connections, per_address) in [
            (1 << 20, 1024, 512),
            (1280, 1024, 512),
            (1024, 768, 384),
            (512, 256, 128),
            (256, 128, 64),
            (1, 1, 1),
            (0, 1, 1),
        ] {
            let limits = with_open_files(files);
            assert_eq!((limits.connections, limits.connections_per_address), (connections, per_address), "{files}");
        }
    }

    #[test]
    fn connections_of_senders_and_to_sinks_leave_files_for_the_process() {
        for (files, expected) in [(1 << 20, (1 << 20) - 1120), (1024, 160), (512, 160), (256, 32), (64, 1), (0, 1)] {
            assert_eq!(connections_to_sinks(files), expected, "{files}");
        }
    }
}

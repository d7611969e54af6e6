//! The sender's retry table and failure clock (the page, "Retries").

use std::time::Duration;

/// How long after a failed attempt the next one comes. Five retries, then Linktree gives the delivery up.
pub const DELAYS: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(90),
    Duration::from_secs(270),
    Duration::from_secs(810),
];

/// A subscription whose deliveries have failed for this long without one success is disabled.
pub const DISABLE_AFTER: Duration = Duration::from_secs(72 * 60 * 60);

//! Linktree's retry delays, and when it disables a subscription (Linktree's documentation, "Retries").

use std::time::Duration;

/// The delays between a failed attempt and the next one. After five retries Linktree drops the delivery.
pub const DELAYS: [Duration; 5] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(90),
    Duration::from_secs(270),
    Duration::from_secs(810),
];

/// Linktree disables a subscription after this time of failed deliveries without a success.
pub const DISABLE_AFTER: Duration = Duration::from_secs(72 * 60 * 60);

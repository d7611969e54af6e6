//! The length of the receivers' write-ahead logs, sampled while they run.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// The length of the longest log so far, in bytes.
static LONGEST: AtomicU64 = AtomicU64::new(0);

const INTERVAL: Duration = Duration::from_millis(20);

/// Samples the log of the journal next to the route file in `directory` until it is deleted.
pub(crate) fn sample(directory: &Path) {
    let log = directory.join("journal").join("journal.sqlite-wal");
    thread::spawn(move || {
        while let Ok(log) = fs::metadata(&log) {
            LONGEST.fetch_max(log.len(), Ordering::Relaxed);
            thread::sleep(INTERVAL);
        }
    });
}

/// The length of the longest log of all runs, in MiB.
pub(crate) fn longest() -> f64 {
    LONGEST.load(Ordering::Relaxed) as f64 / f64::from(1 << 20)
}

//! The latency of the disk, which the goals' times are relative to.

use std::{fs::File, io::Write, path::Path, time::Instant};

use anyhow::Result;

use crate::support::benchmark_report::quantile;

/// The minimum size of a journal commit.
const BYTES: usize = 4096;

/// Measures `fdatasync` after an append of 4 KiB: median and 99th percentile in milliseconds.
pub(crate) fn sync_times(directory: &Path, count: usize) -> Result<(f64, f64)> {
    let path = directory.join("sync-times");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        file.write_all(&[7; BYTES])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok((quantile(times.clone(), 0.5), quantile(times, 0.99)))
}

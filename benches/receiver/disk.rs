//! What the disk itself takes: the times of the goals are in relation to it.

use std::{fs::File, io::Write, path::Path, time::Instant};

use anyhow::Result;

use crate::support::benchmark_report::quantile;

/// What one commit of the journal writes at least.
const BYTES: usize = 4096;

/// How long `fdatasync` takes after 4 KiB were appended: median and 99th percentile in milliseconds.
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

//! Waits for a condition with a deadline, where `kubectl wait` does not apply.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// The pause between two checks.
const PERIOD: Duration = Duration::from_millis(250);

/// Calls `check` until it returns a value. A failed check counts as no value.
///
/// # Errors
/// If there is no value at the deadline; the error names `what` and contains the error of the last check.
pub fn until<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let result = check();
        if let Ok(Some(found)) = result {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let timeout = anyhow!("timed out after {seconds} s waiting until {what}");
            return Err(match result {
                Ok(_) => timeout,
                Err(error) => error.context(timeout),
            });
        }
        thread::sleep(PERIOD);
    }
}

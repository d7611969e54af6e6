//! Waiting for something to become true, never for time to pass. Where kubectl can watch for it, `kubectl wait` is used
//! instead.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// How often it is looked.
const PERIOD: Duration = Duration::from_millis(250);

/// Looks until there is something, and returns it. A look that fails counts as nothing seen.
///
/// # Errors
/// When there is nothing at the deadline; says what was waited for, and what the last look said if it failed.
pub fn until<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let seen = look();
        if let Ok(Some(found)) = seen {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let why = anyhow!("waited {seconds} s in vain for this: {what}");
            return Err(match seen {
                Ok(_) => why,
                Err(error) => error.context(why),
            });
        }
        thread::sleep(PERIOD);
    }
}

//! The only code that reads a clock. All other code takes `now` as an argument, so that a test can choose the time;
//! `clippy.toml` forbids the underlying calls elsewhere.

use std::{
    cell::Cell,
    sync::OnceLock,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

/// The function that tells [`now`] the time: the system clock, or a test's simulated one.
pub type Source = fn() -> Timestamp;

/// The function that tells [`monotonic`] the time, likewise.
pub type MonotonicSource = fn() -> Instant;

thread_local! {
    static SOURCE: Cell<Source> = const { Cell::new(system) };
    static MONOTONIC: Cell<MonotonicSource> = const { Cell::new(system_monotonic) };
    static STEADY_SOURCE: Cell<Source> = const { Cell::new(system_steady) };
}

/// Wall-clock time, for values that are stored, compared with Linktree's timestamps or shown to a user.
#[must_use]
pub fn now() -> Timestamp {
    SOURCE.get()()
}

/// Replaces the source of [`now`] and [`steady`] on this thread, for a runtime of one thread in simulated time.
pub fn set_source(source: Source) {
    SOURCE.set(source);
    STEADY_SOURCE.set(source);
}

/// Replaces the source of [`steady`] alone, for a wall clock that is set while time passes.
pub fn set_steady_source(source: Source) {
    STEADY_SOURCE.set(source);
}

/// Monotonic time as a timestamp: the wall clock at its first use, and the time since then. It never jumps, so that
/// nothing that is counted by it ends early or late when the wall clock is set.
#[must_use]
pub fn steady() -> Timestamp {
    STEADY_SOURCE.get()()
}

/// The steady time of a wall-clock time, by the present difference of the clocks.
#[must_use]
pub fn to_steady(wall: Timestamp) -> Timestamp {
    shifted(wall, now().duration_until(steady()))
}

/// The wall-clock time of a steady time, by the present difference of the clocks.
#[must_use]
pub fn to_wall(steady_time: Timestamp) -> Timestamp {
    shifted(steady_time, steady().duration_until(now()))
}

/// Differences of less than this come from reading two clocks one after the other.
const NOISE: SignedDuration = SignedDuration::from_millis(100);

fn shifted(time: Timestamp, by: SignedDuration) -> Timestamp {
    if by.abs() < NOISE { time } else { time.saturating_add(by).unwrap_or(time) }
}

#[allow(clippy::disallowed_methods, reason = "only this module may read the clock")]
fn system_steady() -> Timestamp {
    static BEGIN: OnceLock<(Timestamp, Instant)> = OnceLock::new();
    let (wall, began) = BEGIN.get_or_init(|| (Timestamp::now(), Instant::now()));
    wall.saturating_add(began.elapsed()).unwrap_or(Timestamp::MAX)
}

/// Replaces the source of [`monotonic`] on this thread.
pub fn set_monotonic_source(source: MonotonicSource) {
    MONOTONIC.set(source);
}

/// `run` for another thread, where it has the clocks of this one.
pub fn inherited<T>(run: impl FnOnce() -> T + Send) -> impl FnOnce() -> T + Send {
    let (source, steady, monotonic) = (SOURCE.get(), STEADY_SOURCE.get(), MONOTONIC.get());
    move || {
        set_source(source);
        set_steady_source(steady);
        set_monotonic_source(monotonic);
        run()
    }
}

#[allow(clippy::disallowed_methods, reason = "only this module may read the clock")]
fn system() -> Timestamp {
    Timestamp::now()
}

/// Monotonic time, for durations and deadlines inside one process.
#[must_use]
pub fn monotonic() -> Instant {
    MONOTONIC.get()()
}

/// The monotonic time since `instant`.
#[must_use]
pub fn since(instant: Instant) -> Duration {
    monotonic().saturating_duration_since(instant)
}

#[allow(clippy::disallowed_methods, reason = "only this module may read the clock")]
fn system_monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_thread_has_the_clocks_of_this_one() {
        fn ahead() -> Instant {
            system_monotonic() + Duration::from_secs(3600)
        }
        let began = monotonic();
        std::thread::scope(|scope| {
            let simulated = scope.spawn(|| {
                set_source(|| Timestamp::UNIX_EPOCH);
                set_monotonic_source(ahead);
                let read = inherited(move || (now(), since(began)));
                std::thread::scope(|scope| scope.spawn(read).join().unwrap())
            });
            let (now, since) = simulated.join().unwrap();
            assert_eq!(now, Timestamp::UNIX_EPOCH);
            assert!(since >= Duration::from_secs(3600));
        });
        assert!(since(began) < Duration::from_secs(3600), "this thread has the system's");
    }
}

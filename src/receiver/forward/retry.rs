//! The outcome of a failed attempt: a retry at some time, or a dead letter. Pure: jitter and time are passed in.

use std::time::Duration;

use crate::{
    receiver::{journal::Outcome, sink::failure::Failure},
    route::Retry,
};

/// The outcome for an event that failed for the `attempts`-th time, at `now` (milliseconds since the epoch). `jitter`
/// is from 0 to 1 and shortens a delay by up to half, so that events that failed together are not retried together. The
/// delay is never shorter than the sink's `Retry-After`.
#[must_use]
pub fn after(failure: &Failure, retry: &Retry, attempts: u32, jitter: f64, now: i64) -> Outcome {
    if !is_retryable(failure) || attempts > retry.limit {
        return Outcome::DeadLetter { failure: failure.to_string(), at: now };
    }
    let backoff = backoff(retry, attempts).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
    let delay = backoff.max(retry_after(failure));
    let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    Outcome::Retry { attempts, due_at: now.saturating_add(millis) }
}

/// Whether the same request may succeed later (Knative's data-plane contract): 408, 409, 429, any 5xx, and every
/// attempt without a response. Also a 2xx that does not satisfy the success condition.
fn is_retryable(failure: &Failure) -> bool {
    match failure {
        Failure::Status { code, .. } => matches!(code, 408 | 409 | 429 | 500..=599),
        // The name may resolve to another address next time, and the rules may change. The body of a 200 does not say
        // whether the error is permanent.
        Failure::NotAccepted { .. }
        | Failure::Malformed
        | Failure::TimedOut
        | Failure::Unreachable
        | Failure::Forbidden { .. } => true,
        // The same event makes the same request.
        Failure::Unfit { .. } => false,
    }
}

/// `delay * 2^(attempts - 1)`, at most `max_delay`.
fn backoff(retry: &Retry, attempts: u32) -> Duration {
    let doubled = 2_u64.saturating_pow(attempts.saturating_sub(1));
    let seconds = u64::from(retry.delay_seconds).saturating_mul(doubled);
    Duration::from_secs(seconds.min(retry.max_delay_seconds.into()))
}

fn retry_after(failure: &Failure) -> Duration {
    match failure {
        Failure::Status { retry_after, .. } => retry_after.unwrap_or_default(),
        Failure::NotAccepted { .. }
        | Failure::Malformed
        | Failure::TimedOut
        | Failure::Unreachable
        | Failure::Forbidden { .. }
        | Failure::Unfit { .. } => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::sink::excerpt::Excerpt;

    const RETRY: Retry = Retry { limit: 8, delay_seconds: 2, max_delay_seconds: 300 };

    fn status(code: u16) -> Failure {
        Failure::Status { code, retry_after: None, answer: Excerpt::default() }
    }

    /// Milliseconds until the next attempt; `None` for a dead letter.
    fn delay(failure: &Failure, attempts: u32, jitter: f64) -> Option<i64> {
        match after(failure, &RETRY, attempts, jitter, 1_000_000) {
            Outcome::Retry { due_at, .. } => Some(due_at - 1_000_000),
            Outcome::DeadLetter { .. } | Outcome::Done => None,
        }
    }

    #[test]
    fn only_transient_failures_are_retried() {
        for again in [status(408), status(409), status(429), status(500), status(503), status(599)] {
            assert!(delay(&again, 1, 0.0).is_some(), "{again}");
        }
        assert!(delay(&Failure::TimedOut, 1, 0.0).is_some());
        assert!(delay(&Failure::Unreachable, 1, 0.0).is_some());
        let not_accepted = Failure::NotAccepted { code: 200, problem: String::new(), answer: Excerpt::default() };
        assert!(delay(&not_accepted, 1, 0.0).is_some());
        assert!(delay(&Failure::Unfit { problem: String::new() }, 1, 0.0).is_none());
        for dead in [status(301), status(307), status(400), status(401), status(404), status(413), status(422)] {
            assert!(delay(&dead, 1, 0.0).is_none(), "{dead}");
        }
    }

    #[test]
    fn the_delay_doubles_up_to_its_maximum_until_the_limit() {
        let delays: Vec<_> = (1..=9).map(|attempts| delay(&status(500), attempts, 0.0)).collect();
        let seconds = [2, 4, 8, 16, 32, 64, 128, 256].map(|seconds| Some(seconds * 1000));
        assert_eq!(delays[..8], seconds);
        assert_eq!(delays[8], None, "the first attempt and eight retries");
        let patient = Retry { limit: u32::MAX, ..RETRY };
        for attempts in [9, 64, 1000, u32::MAX] {
            let Outcome::Retry { due_at, .. } = after(&status(500), &patient, attempts, 0.0, 0) else { panic!() };
            assert_eq!(due_at, 300_000);
        }
    }

    #[test]
    fn jitter_shortens_by_up_to_half() {
        assert_eq!(delay(&status(500), 2, 0.5), Some(3000));
        assert_eq!(delay(&status(500), 2, 1.0), Some(2000));
        assert_eq!(delay(&status(500), 2, 7.0), Some(2000));
    }

    #[test]
    fn retry_after_extends_the_delay() {
        let after_seconds = |seconds| Failure::Status {
            code: 429,
            retry_after: Some(Duration::from_secs(seconds)),
            answer: Excerpt::default(),
        };
        assert_eq!(delay(&after_seconds(60), 1, 1.0), Some(60_000));
        assert_eq!(delay(&after_seconds(1), 3, 0.0), Some(8000), "but not sooner than the backoff");
    }

    #[test]
    fn without_retries_the_first_failure_is_a_dead_letter() {
        let once = Retry { limit: 0, ..RETRY };
        let outcome = after(&Failure::TimedOut, &once, 1, 0.0, 5);
        assert_eq!(outcome, Outcome::DeadLetter { failure: "did not answer in time".into(), at: 5 });
    }
}

//! Exponential backoff for watches that fail.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};

use crate::jitter;

/// An event of a watch, or its failure.
pub type Result<T> = std::result::Result<T, watcher::Error>;

/// The delay before a retry after the first failure. It doubles with each further failure up to [`MAX_DELAY`]; a jitter
/// of up to the same length is added, so that the watches of many operators do not retry at the same time. client-go
/// uses the same values.
const MIN_DELAY: Duration = Duration::from_millis(800);
const MAX_DELAY: Duration = Duration::from_secs(30);
/// After a failure, a watch counts as healthy once it has been quiet for this long, and its backoff is reset.
const RESET_AFTER: Duration = Duration::from_secs(120);

/// Wraps a watch: it yields the same events, but waits after each failure; the delay grows until the watch succeeds.
///
/// kube's own backoff is reset by any event, and a watcher yields one (`Init`) before each list: a kind that the API
/// server does not serve would be requested every second.
pub fn with_backoff<K>(
    watch: impl Stream<Item = Result<Event<K>>> + Send,
) -> impl Stream<Item = Result<Event<K>>> + Send
where
    K: Send,
{
    let initial = (Box::pin(watch), WatchBackoff::default(), None);
    futures::stream::unfold(initial, |(mut watch, mut backoff, delay): (Pin<Box<_>>, _, _)| async move {
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let event = match tokio::time::timeout(RESET_AFTER, watch.next()).await {
            Ok(event) => event?,
            Err(_) => {
                backoff = WatchBackoff::default();
                watch.next().await?
            }
        };
        let delay = backoff.after(&event);
        Some((event, (watch, backoff, delay)))
    })
}

/// The number of consecutive failures of one watch.
#[derive(Debug, Default)]
struct WatchBackoff(u32);

impl WatchBackoff {
    /// How long to wait after this event before polling the watch again; `None` for no delay.
    fn after<K>(&mut self, event: &Result<Event<K>>) -> Option<Duration> {
        match event {
            Err(_) => {
                let delay = MIN_DELAY.saturating_mul(1 << self.0.min(16)).min(MAX_DELAY);
                self.0 = self.0.saturating_add(1);
                Some(delay.mul_f64(1.0 + jitter::fraction()))
            }
            // No reset: the initial list has not succeeded yet, since the request for it or for a further page may
            // still fail.
            Ok(Event::Init | Event::InitApply(_)) => None,
            Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => {
                self.0 = 0;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures::poll;
    use kube::runtime::watcher::Error;

    use super::*;

    fn failure() -> Result<Event<()>> {
        Err(Error::NoResourceVersion)
    }

    fn delays(events: impl IntoIterator<Item = Result<Event<()>>>) -> Vec<Duration> {
        let mut backoff = WatchBackoff::default();
        events.into_iter().filter_map(|event| backoff.after(&event)).collect()
    }

    #[test]
    fn the_backoff_of_a_kind_that_is_never_served_grows() {
        let delays = delays((0..8).flat_map(|_| [Ok(Event::Init), failure()]));
        assert!(delays[0] < Duration::from_secs(2), "{delays:?}");
        assert!(delays[6..].iter().all(|delay| *delay >= Duration::from_secs(30)), "{delays:?}");
    }

    #[test]
    fn only_a_successful_request_resets_the_backoff() {
        let cases: [(&str, Event<()>, bool); 5] = [
            ("a list begins", Event::Init, false),
            ("an item of a list", Event::InitApply(()), false),
            ("a complete list", Event::InitDone, true),
            ("a change", Event::Apply(()), true),
            ("a deletion", Event::Delete(()), true),
        ];
        for (case, event, reset) in cases {
            let delays = delays((0..6).map(|_| failure()).chain([Ok(event), failure()]));
            assert_eq!(delays[6] < Duration::from_secs(2), reset, "{case}: {delays:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_time_without_a_failure_resets_the_backoff() {
        for (quiet, reset) in [(Duration::ZERO, false), (RESET_AFTER + Duration::from_secs(1), true)] {
            let failures = futures::stream::iter((0..6).map(|_| failure()));
            let later = futures::stream::once(async move {
                tokio::time::sleep(quiet).await;
                failure()
            });
            let mut watch =
                Box::pin(with_backoff(failures.chain(later).chain(futures::stream::once(async { failure() }))));
            for _ in 0..7 {
                assert!(watch.next().await.is_some_and(|event| event.is_err()));
            }
            let next = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
            assert_eq!(next.is_ok(), reset, "after {quiet:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_reported_at_once_and_the_next_event_is_delayed() {
        let events = [Ok(Event::Init), failure(), Ok(Event::InitDone), Ok(Event::Apply(()))];
        let mut watch = Box::pin(with_backoff(futures::stream::iter(events)));
        assert!(matches!(poll!(watch.next()), Poll::Ready(Some(Ok(Event::Init)))));
        assert!(matches!(poll!(watch.next()), Poll::Ready(Some(Err(_)))));
        assert!(poll!(watch.next()).is_pending());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(matches!(poll!(watch.next()), Poll::Ready(Some(Ok(Event::InitDone)))));
        assert!(matches!(poll!(watch.next()), Poll::Ready(Some(Ok(Event::Apply(()))))));
    }
}

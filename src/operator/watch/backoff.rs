//! How a watch that fails is begun again: ever more slowly, until it works.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};

use crate::jitter;

/// An item of a watch.
pub type Result<T> = std::result::Result<T, watcher::Error>;

/// The pause after the first failure, which doubles with each up to [`LONGEST`]; all up to twice as long, by chance, so that
/// the watches of many operators do not come back at once. As client-go has it.
const SHORTEST: Duration = Duration::from_millis(800);
const LONGEST: Duration = Duration::from_secs(30);
/// A watch that says nothing for so long after a failure works: there is nothing to say.
const WORKS: Duration = Duration::from_secs(120);

/// The same events, with a pause after each failure, which grows until something has worked. kube's own begins anew with
/// any event, and a watcher yields one each time it is about to list: what is never served would be asked for every second.
pub fn with_backoff<K>(
    watch: impl Stream<Item = Result<Event<K>>> + Send,
) -> impl Stream<Item = Result<Event<K>>> + Send
where
    K: Send,
{
    let begun = (Box::pin(watch), WatchBackoff::default(), None);
    futures::stream::unfold(begun, |(mut watch, mut backoff, pause): (Pin<Box<_>>, _, _)| async move {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        let event = match tokio::time::timeout(WORKS, watch.next()).await {
            Ok(event) => event?,
            Err(_) => {
                backoff = WatchBackoff::default();
                watch.next().await?
            }
        };
        let pause = backoff.after(&event);
        Some((event, (watch, backoff, pause)))
    })
}

/// Failures in a row.
#[derive(Debug, Default)]
struct WatchBackoff(u32);

impl WatchBackoff {
    /// How long the watch is left alone after this.
    fn after<K>(&mut self, event: &Result<Event<K>>) -> Option<Duration> {
        match event {
            Err(_) => {
                let pause = SHORTEST.saturating_mul(1 << self.0.min(16)).min(LONGEST);
                self.0 = self.0.saturating_add(1);
                Some(pause.mul_f64(1.0 + jitter::fraction()))
            }
            // A list that is about to be asked for, or of which another page may fail.
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

    fn pauses(events: impl IntoIterator<Item = Result<Event<()>>>) -> Vec<Duration> {
        let mut backoff = WatchBackoff::default();
        events.into_iter().filter_map(|event| backoff.after(&event)).collect()
    }

    #[test]
    fn what_is_never_served_is_asked_for_ever_more_rarely() {
        let pauses = pauses((0..8).flat_map(|_| [Ok(Event::Init), failure()]));
        assert!(pauses[0] < Duration::from_secs(2), "{pauses:?}");
        assert!(pauses[6..].iter().all(|pause| *pause >= Duration::from_secs(30)), "{pauses:?}");
    }

    #[test]
    fn only_what_has_worked_makes_it_quick_again() {
        let cases: [(&str, Event<()>, bool); 5] = [
            ("a list is to begin", Event::Init, false),
            ("a part of a list", Event::InitApply(()), false),
            ("a whole list", Event::InitDone, true),
            ("a change", Event::Apply(()), true),
            ("a deletion", Event::Delete(()), true),
        ];
        for (case, event, quick) in cases {
            let pauses = pauses((0..6).map(|_| failure()).chain([Ok(event), failure()]));
            assert_eq!(pauses[6] < Duration::from_secs(2), quick, "{case}: {pauses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_quiet_for_long_is_begun_anew_quickly() {
        for (quiet, quick) in [(Duration::ZERO, false), (WORKS + Duration::from_secs(1), true)] {
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
            assert_eq!(next.is_ok(), quick, "after {quiet:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_at_once_and_what_comes_after_it_waits() {
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

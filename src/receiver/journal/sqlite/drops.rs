//! The writer's use of [`super::drop_oldest`]: makes room for new events, and logs how many were given up.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Result};

use super::drop_oldest::{Limits, Search};
use crate::{clock, receiver::journal::Settings};

/// The pages that giving up one event writes at most: the event, and the retry, the dead letter, the entry of the list
/// and the count of some sinks.
const PAGES_PER_EVENT: u32 = 12;
/// The list of given-up events has at most this part of the capacity, at about so many bytes for an entry.
const LISTED_PART: u64 = 64;
const LISTED_BYTES: u64 = 128;
const LISTED: (u64, u64) = (1_000, 500_000);
/// The minimum time of a search.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
/// The minimum interval of log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The state of giving up events. A transaction changes a copy, which counts once it is committed.
#[derive(Clone, Debug)]
pub(super) struct Drops {
    search: Search,
    /// When the search last began.
    restarted: Instant,
    /// Events that were given up since the last log line, and when that was.
    unlogged: u64,
    logged: Option<Instant>,
    /// Whether events were given up since [`Drops::take_given_up`].
    given_up: bool,
}

impl Drops {
    pub(super) fn new() -> Self {
        Drops { search: Search::new(), restarted: clock::monotonic(), unlogged: 0, logged: None, given_up: false }
    }

    /// Gives up events until `bytes` are free, in a transaction that writes at most `pages` for it. Returns their number.
    pub(super) fn make_room(
        &mut self,
        connection: &Connection,
        settings: &Settings,
        bytes: i128,
        pages: u32,
        now: i64,
    ) -> Result<u64> {
        if !self.is_open() {
            return Ok(0);
        }
        let events = (pages / PAGES_PER_EVENT).max(1) as usize;
        let listed = (settings.capacity_bytes / LISTED_PART / LISTED_BYTES).clamp(LISTED.0, LISTED.1);
        let dropped = self.search.give_up(connection, Limits { bytes, events, listed }, now)?;
        self.unlogged += dropped;
        self.given_up |= dropped > 0;
        Ok(dropped)
    }

    /// Searches from the start again, after a while: there may be more dead letters, and events that no other sink holds
    /// any more.
    pub(super) fn restart(&mut self) {
        if !self.search.is_open() && clock::since(self.restarted) >= SEARCH_INTERVAL {
            (self.search, self.restarted) = (Search::new(), clock::monotonic());
        }
    }

    /// Whether events were given up since the last call. Those between them have then become retries.
    pub(super) fn take_given_up(&mut self) -> bool {
        std::mem::take(&mut self.given_up)
    }

    /// Whether another batch may find something.
    pub(super) fn is_open(&self) -> bool {
        self.search.is_open()
    }

    /// Logs the number of events that were given up, at most once per [`LOG_INTERVAL`].
    pub(super) fn log(&mut self) {
        let now = clock::monotonic();
        if self.unlogged > 0 && self.logged.is_none_or(|logged| now.duration_since(logged) >= LOG_INTERVAL) {
            tracing::error!(events = self.unlogged, "journal full, gave up events of a sink with DropOldest");
            (self.unlogged, self.logged) = (0, Some(now));
        }
    }
}

//! The writer thread. Requests wait in a [`super::queue`]; the writer puts them into one transaction and answers them once
//! the commit, which is one fsync, has returned (group commit). A single request is written at once. Under load,
//! commits start at a minimum interval: a commit costs about the same for few requests as for many.
//!
//! After an error all requests of the batch are answered with it, and the transaction is rolled back on the same
//! connection: its WAL index still ends at the last good commit, so the next commit writes and syncs the same frames of
//! the log again. A failed commit is neither retried nor assumed to be done.
//!
//! A commit is bounded in requests and in pages, and before it begins there is room for it in the log.
//!
//! A failed sync is worse: the kernel may have dropped dirty pages and now show them as clean, so a later sync that
//! succeeds proves nothing. Then the writer shuts down and reports it; another process must find out the state of the
//! disk.

use std::{
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;
use rusqlite::{Connection, Result, Transaction, TransactionBehavior};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    append,
    budget::Budget,
    checkpoint::Wal,
    commit_size,
    drops::Drops,
    error::sync_failed,
    expire::Expiry,
    expiry_clock::ExpiryTime,
    identities::{self, FlushedChunks, IndexKeys, Match, PendingIdentities},
    pending_index::Number,
    prune::{self, ago},
    queue::{Answer, Batch, Found, Limits, Request, Waiting, Work},
    redrive,
    removed::{self, Removed},
    room,
    schedule::Schedule,
    schema::Lock,
    settle,
    shared_memory::SharedMemory,
    volume_room::VolumeRoom,
};
use crate::{
    clock,
    linktree::event::EventType,
    receiver::{
        ingest::event::Event,
        journal::{Appended, JournalError, Position, Settings, position::Arrivals},
    },
    route::status::JournalHealth,
};

/// Once a commit batched this many requests, the next commit waits to batch more (group commit).
const GROUP_COMMIT_MIN: usize = 4;
/// The minimum interval between the starts of group commits. The writer sleeps meanwhile: a wake-up per request would
/// cost more than it saves.
const GROUP_COMMIT_INTERVAL: Duration = Duration::from_millis(1);
/// The space that is reserved for the settlement of an event, for each sink.
const SETTLEMENT_BYTES: i128 = room::SETTLEMENT_BYTES as i128;

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) wal: Wal,
    pub(super) room: VolumeRoom,
    pub(super) lock: Lock,
    pub(super) shared_memory: SharedMemory,
    pub(super) requests: Waiting,
    pub(super) expiry: Expiry,
    pub(super) settings: Settings,
    /// The number of the last event.
    pub(super) last: Position,
    /// The number of the last identity.
    pub(super) last_identity: Number,
    pub(super) pending: PendingIdentities,
    pub(super) health: watch::Sender<JournalHealth>,
    pub(super) appended: watch::Sender<Arrivals>,
    pub(super) commits: Histogram,
    /// The runtime of the tasks that wait for answers.
    pub(super) runtime: Handle,
    /// Whether there is no delivered event to evict.
    pub(super) nothing_to_evict: bool,
    pub(super) maintenance: Schedule,
    pub(super) drops: Drops,
    /// When the next events of removed sinks become dead letters; `None` without such events.
    pub(super) convert_at: Option<Instant>,
    /// When the next events are sent again; `None` without a request.
    pub(super) redrive_at: Option<Instant>,
    /// When the last commit started, and whether the next one waits to batch more.
    pub(super) began: Instant,
    pub(super) group_commit: bool,
    /// Cancelled after a failed sync.
    pub(super) lost: CancellationToken,
}

/// The result of a batch, to apply once it is committed.
struct Committed {
    answers: Vec<Answer>,
    last: Position,
    last_identity: Number,
    /// Identities of this batch.
    added: Vec<IndexKeys>,
    /// Those of earlier batches that this transaction flushes into the indexes.
    flushed: FlushedChunks,
    /// When the last milestone of this batch was received.
    milestone: Option<i64>,
    removed: Vec<Removed>,
    /// Whether a request to send events again was accepted.
    redrive: bool,
    settings: Settings,
    nothing_to_evict: bool,
    drops: Drops,
}

impl Writer {
    /// Runs until a request closes it, or all senders are gone.
    pub(super) fn run(mut self) {
        loop {
            match self.requests.wait(self.maintenance_in().min(self.background_in())) {
                Found::Requests => self.commit(),
                Found::Nothing => {}
                Found::End(closed) => return self.end(closed),
            }
            if !self.lost.is_cancelled() && self.maintenance_in().is_zero() {
                self.maintain();
            }
            if !self.lost.is_cancelled() {
                self.work_in_background();
            }
            if self.drops.take_given_up() {
                self.requeued();
            }
            if self.lost.is_cancelled() {
                self.shut_down();
            } else if let Err(error) = self.wal.maybe_checkpoint(&self.connection, clock::monotonic())
                && !self.give_way(&error)
            {
                self.mark_failed(error);
            }
        }
    }

    /// Wakes the forwarding, because stored events have become retries.
    pub(super) fn requeued(&self) {
        self.appended.send_modify(|arrivals| arrivals.requeued += 1);
    }

    /// Releases the journal, so that another process can open it, and answers the request to close it.
    fn end(self, closed: Option<oneshot::Sender<Answer>>) {
        let Writer { connection, wal, lock, shared_memory, .. } = self;
        drop(wal);
        drop(connection);
        drop(shared_memory);
        drop(lock);
        if let Some(closed) = closed {
            let _ = closed.send(Ok(None));
        }
    }

    /// Commits the queued requests.
    fn commit(&mut self) {
        if self.group_commit {
            thread::sleep(GROUP_COMMIT_INTERVAL.saturating_sub(clock::since(self.began)));
        }
        self.began = clock::monotonic();
        let Batch { requests: batch, pages } = self.collect();
        self.group_commit = batch.len() >= GROUP_COMMIT_MIN;
        if self.lost.is_cancelled() {
            return reject(batch, &self.shut_down());
        }
        match self.write(&batch, pages) {
            // The sync that failed meanwhile may have been for the pages of this commit.
            Ok(_) if self.lost.is_cancelled() => reject(batch, &self.shut_down()),
            Ok(committed) => {
                self.commits.observe(clock::since(self.began).as_secs_f64());
                self.publish(committed, batch);
            }
            Err(error) => {
                let error = self.mark_failed(error);
                reject(batch, &error);
            }
        }
    }

    /// Writes a batch of at most `pages`; once more without new events, if the volume was full and the ballast made way.
    fn write(&mut self, batch: &[Request], pages: u32) -> Result<Committed> {
        let time = self.expiry.time();
        let written = self.make_room(pages).and_then(|()| self.transact(batch, time));
        match written {
            Err(error) if self.give_way(&error) => self.make_room(pages).and_then(|()| self.transact(batch, time)),
            written => written,
        }
    }

    /// Gives up the ballast after an error of a full volume. Returns whether another attempt is worth it.
    pub(super) fn give_way(&mut self, error: &rusqlite::Error) -> bool {
        if !self.room.is_full(error) || !self.room.give_up() {
            return false;
        }
        self.wal.retry_now();
        true
    }

    /// The queued requests that fit into one commit, and how many pages it writes at most.
    fn collect(&mut self) -> Batch {
        let bounds = self.room.bounds();
        let limits = Limits { requests: bounds.requests(), pages: bounds.commit_pages() };
        let Batch { requests, pages } = self.requests.take(limits);
        let appends = requests.iter().filter(|request| matches!(request.work, Work::Append(_))).count();
        let indexes = commit_size::INDEX_PAGES_PER_APPEND.saturating_mul(u32::try_from(appends).unwrap_or(u32::MAX));
        Batch { requests, pages: pages.saturating_add(indexes).saturating_add(bounds.evict_pages()) }
    }

    /// Makes room in the log for a transaction that writes at most `pages`.
    fn make_room(&mut self, pages: u32) -> Result<()> {
        self.wal.make_room(&self.connection, pages, clock::monotonic())
    }

    /// Writes a batch in one transaction at `time`. It cannot change `self`, because the transaction may fail.
    fn transact(&self, batch: &[Request], time: ExpiryTime) -> Result<Committed> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let appends = batch.iter().filter(|request| matches!(request.work, Work::Append(_))).count();
        let mut committed = Committed {
            answers: Vec::with_capacity(batch.len()),
            last: self.last,
            last_identity: self.last_identity,
            added: Vec::with_capacity(appends),
            flushed: self.pending.flush(&transaction, appends, self.last_identity)?,
            milestone: None,
            removed: Vec::new(),
            redrive: false,
            settings: self.settings.clone(),
            nothing_to_evict: self.nothing_to_evict,
            drops: self.drops.clone(),
        };
        let capacity = self.settings.capacity_bytes;
        let mut free = self.room.free(&transaction, capacity, self.last)?;
        if free <= self.room.low_bytes() && !committed.nothing_to_evict {
            committed.nothing_to_evict =
                prune::evict_events(&transaction, Budget::of_pages(self.room.bounds().evict_pages()))? == 0;
            free = self.room.free(&transaction, capacity, self.last)?;
        }
        if free <= 0 && committed.nothing_to_evict {
            let needed = batch.iter().map(|request| request.work.bytes()).sum::<i128>() - free;
            let pages = self.room.bounds().evict_pages();
            if committed.drops.make_room(&transaction, &self.settings, needed, pages, time.now)? > 0 {
                free = self.room.free(&transaction, capacity, self.last)?;
            }
        }
        for Request { work, .. } in batch {
            let answer = match work {
                Work::Append(event) => committed.append(&transaction, &self.pending, event, time.ahead(), &mut free)?,
                Work::Settle { sink, settlements } => {
                    settle::settle(&transaction, sink, settlements, time.now)?;
                    committed.nothing_to_evict = false;
                    Ok(None)
                }
                Work::Configure(settings) => {
                    committed.removed.extend(removed::set_sinks(&transaction, &settings.sinks, committed.last)?);
                    removed::set_policies(&transaction, &settings.drop_oldest)?;
                    committed.settings = settings.clone();
                    committed.nothing_to_evict = false;
                    free = self.room.free(&transaction, settings.capacity_bytes, committed.last)?;
                    Ok(None)
                }
                Work::Redrive(request) => {
                    redrive::accept(&transaction, request, time.now)?;
                    committed.redrive = true;
                    Ok(None)
                }
            };
            committed.answers.push(answer);
        }
        if let Some(received_at) = committed.milestone {
            append::note_milestone(&transaction, received_at)?;
        }
        transaction.commit()?;
        Ok(committed)
    }

    /// Applies a committed batch, then answers its requests.
    fn publish(&mut self, committed: Committed, batch: Vec<Request>) {
        let Committed {
            answers,
            last,
            last_identity,
            added,
            flushed,
            milestone: _,
            removed,
            redrive,
            settings,
            nothing_to_evict,
            drops,
        } = committed;
        for Removed { sink, waiting } in removed {
            tracing::warn!(sink, waiting, "sink removed, its waiting events become dead letters");
        }
        if redrive {
            self.redrive_at = Some(clock::monotonic());
        }
        self.pending.apply(flushed, &added);
        self.last_identity = last_identity;
        if self.settings != settings {
            self.convert_at = Some(clock::monotonic());
            self.expiry.rescan();
            self.room.configure(settings.capacity_bytes, &self.connection);
            self.limit_log();
        }
        self.settings = settings;
        (self.nothing_to_evict, self.drops) = (nothing_to_evict, drops);
        if answers.contains(&Err(JournalError::Full)) {
            self.set_health(JournalHealth::Full);
        } else if last > self.last {
            self.set_health(JournalHealth::Healthy);
        }
        if last > self.last {
            self.last = last;
            self.appended.send_modify(|arrivals| arrivals.last = last);
        }
        // A task on the runtime wakes all of them with one call into its threads, not one each.
        self.runtime.spawn(async move {
            for (Request { answer, .. }, result) in batch.into_iter().zip(answers) {
                // The caller may have gone: a sender that disconnected retries and finds it stored.
                let _ = answer.send(result);
            }
        });
    }

    /// Records a failure in the health.
    pub(super) fn mark_failed(&self, error: rusqlite::Error) -> JournalError {
        if sync_failed(&error) {
            tracing::error!(%error, "sync failed, shutting down the journal");
            return self.shut_down();
        }
        let error = if self.room.is_full(&error) { JournalError::Full } else { JournalError::from(error) };
        self.set_health(match &error {
            JournalError::Full => JournalHealth::Full,
            JournalError::Overloaded | JournalError::Failed { .. } | JournalError::Closed => {
                JournalHealth::Failed { problem: error.to_string() }
            }
        });
        error
    }

    /// Shuts down: nothing is written from now on.
    fn shut_down(&self) -> JournalError {
        self.lost.cancel();
        self.set_health(JournalHealth::Failed { problem: SYNC_FAILED.to_owned() });
        JournalError::Failed { problem: SYNC_FAILED.to_owned() }
    }

    /// Sets the health. It does not become healthy while checkpoints fail, although events are still stored.
    pub(super) fn set_health(&self, health: JournalHealth) {
        if health != JournalHealth::Healthy || self.wal.is_healthy() {
            self.health.send_if_modified(|now| change(now, health));
        }
    }
}

/// The problem reported after a failed sync.
const SYNC_FAILED: &str = "a sync failed, so the state of the disk is unknown; the receiver restarts to read it";

fn reject(batch: Vec<Request>, error: &JournalError) {
    for Request { answer, .. } in batch {
        let _ = answer.send(Err(error.clone()));
    }
}

impl Committed {
    fn append(
        &mut self,
        transaction: &Transaction<'_>,
        earlier: &PendingIdentities,
        event: &Event,
        ahead: i64,
        free: &mut i128,
    ) -> Result<Answer> {
        let since = ago(event.received_at.saturating_sub(ahead), self.settings.deduplication_window_seconds);
        let conflict = match identities::find_match(transaction, event, since, earlier, &self.added)? {
            Match::Same => return Ok(Ok(Some(Appended::Duplicate))),
            Match::Resigned => {
                // Its signature is stored as well, or this retry could be replayed under a fresh id.
                self.remember(transaction, event)?;
                return Ok(Ok(Some(Appended::Duplicate)));
            }
            Match::OtherBody => true,
            Match::None => false,
        };
        if *free <= 0 {
            return Ok(Err(JournalError::Full));
        }
        *free -= commit_size::append_bytes(event.body.len()) + self.settings.sinks.len() as i128 * SETTLEMENT_BYTES;
        self.last += 1;
        self.remember(transaction, event)?;
        if event.event_type == EventType::AnalyticsMilestone {
            self.milestone = Some(event.received_at);
        }
        append::insert(transaction, self.last, event, conflict).map(|appended| Ok(Some(appended)))
    }

    fn remember(&mut self, transaction: &Transaction<'_>, event: &Event) -> Result<()> {
        self.last_identity += 1;
        self.added.push(identities::remember(transaction, self.last_identity, event)?);
        Ok(())
    }
}

/// Sets `now` to `next`, logs a change and returns whether there was one.
fn change(now: &mut JournalHealth, next: JournalHealth) -> bool {
    if *now == next {
        return false;
    }
    match &next {
        JournalHealth::Healthy => tracing::info!("journal healthy again"),
        JournalHealth::Full => tracing::error!("journal full, answering 503"),
        JournalHealth::Failed { problem } => tracing::error!(problem, "journal failed, answering 503"),
    }
    *now = next;
    true
}

#[cfg(test)]
mod tests;

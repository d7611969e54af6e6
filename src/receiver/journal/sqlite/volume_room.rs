//! Measures the volume, keeps the ballast, and limits the database's pages to what the volume can hold.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nix::sys::statvfs::statvfs;
use rusqlite::{Connection, Result};

use super::{
    ballast::{self, Ballast},
    bounds::Bounds,
    commit_size::PAGE_BYTES,
    error, prune,
    room::{BallastState, Room, Space, ballast_fits},
    schema,
};
use crate::receiver::journal::Position;

/// SQLite's own limit of pages.
const PAGES_MAX: u64 = 4_294_967_294;

/// The limits of a journal that other threads read, in bytes.
#[derive(Debug)]
pub(super) struct Reported {
    /// The lesser of the capacity and the room of the volume.
    pub(super) capacity: AtomicU64,
    /// The greatest body that can be stored.
    pub(super) body: AtomicU64,
}

/// The room of a journal's volume, as of the last measurement.
#[derive(Debug)]
pub(super) struct VolumeRoom {
    directory: PathBuf,
    ballast: Ballast,
    capacity_bytes: u64,
    configured: bool,
    bounds: Bounds,
    room: Room,
    reported: Arc<Reported>,
}

impl VolumeRoom {
    /// The room of the volume of `directory`, and its bounds. It has no limit before the first
    /// [`VolumeRoom::configure`].
    pub(super) fn new(directory: &Path) -> Self {
        let volume = space_of(directory).ok().and_then(|space| space.volume);
        let capacity_bytes = u64::MAX;
        let bounds = Bounds::of(volume, capacity_bytes);
        let reported = Reported { capacity: AtomicU64::new(capacity_bytes), body: AtomicU64::new(bounds.body_bytes()) };
        VolumeRoom {
            directory: directory.to_owned(),
            ballast: Ballast::new(directory),
            capacity_bytes,
            configured: false,
            bounds,
            room: Room::UNLIMITED,
            reported: Arc::new(reported),
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub(super) fn reported(&self) -> Arc<Reported> {
        Arc::clone(&self.reported)
    }

    /// Applies a configured capacity.
    pub(super) fn configure(&mut self, capacity_bytes: u64, connection: &Connection) {
        self.capacity_bytes = capacity_bytes;
        self.configured = true;
        self.measure(connection);
    }

    /// As [`VolumeRoom::measure`], unless nothing is configured yet.
    pub(super) fn remeasure(&mut self, connection: &Connection) {
        if self.configured {
            self.measure(connection);
        }
    }

    /// Measures the volume, makes the ballast if it is missing and fits, and limits the pages of `connection`, the
    /// writer's. If the volume cannot be measured, the last measurement remains.
    fn measure(&mut self, connection: &Connection) {
        if let Err(error) = self.try_measure(connection) {
            tracing::warn!(%error, "cannot measure the journal volume");
        }
    }

    fn try_measure(&mut self, connection: &Connection) -> std::io::Result<()> {
        let mut space = self.space()?;
        self.bounds = Bounds::of(space.volume, self.capacity_bytes);
        let bytes = self.bounds.ballast_bytes();
        let database_bytes = database_bytes(connection).map_err(std::io::Error::other)?;
        if self.ballast.state() != BallastState::InPlace || space.ballast > bytes + u64::from(PAGE_BYTES) {
            if space.ballast >= bytes || ballast_fits(space, self.bounds, database_bytes) {
                self.ballast.fill(bytes);
            }
            space = self.space()?;
        }
        self.room = Room::of(space, self.bounds, self.ballast.state());
        let pages = (self.room.settlements / u64::from(PAGE_BYTES)).clamp(1, PAGES_MAX);
        let pages = i64::try_from(pages).unwrap_or(i64::MAX);
        let limited = connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
        limited.map_err(std::io::Error::other)?;
        self.reported.capacity.store(self.capacity_bytes.min(self.room.events), Ordering::Relaxed);
        self.reported.body.store(self.bounds.body_bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// Whether an operation failed because the volume is full.
    pub(super) fn is_full(&self, error: &rusqlite::Error) -> bool {
        error::volume_full(error, &self.directory)
    }

    /// Gives up the ballast after the volume was full. Returns whether that freed blocks, so that another attempt is
    /// worth it: settlements fit, new events do not.
    pub(super) fn give_up(&mut self) -> bool {
        if !self.ballast.give_up() {
            return false;
        }
        tracing::warn!("journal volume full, gave up its ballast");
        if let Ok(space) = self.space() {
            self.room = Room::of(space, self.bounds, self.ballast.state());
        }
        true
    }

    /// The remaining bytes for new events; none fits unless it is positive. `last` is the last event.
    pub(super) fn free(&self, connection: &Connection, capacity_bytes: u64, last: Position) -> Result<i128> {
        let unsettled = "SELECT coalesce(sum(max(0, ?1 - position)), 0) FROM sinks";
        let unsettled: i64 = connection.prepare_cached(unsettled)?.query_row([last], |row| row.get(0))?;
        Ok(self.room.free(capacity_bytes, prune::used_bytes(connection)?, unsettled.unsigned_abs()))
    }

    /// Delivered events are evicted already when less than this is free: about a commit, so that it finds its room.
    pub(super) fn low_bytes(&self) -> i128 {
        let limit = self.capacity_bytes.min(self.room.events);
        i128::from((self.bounds.log_bytes() / 4).min(limit / 16))
    }

    /// The volume and the journal's files. The files are measured first: what they grow meanwhile is missing in both
    /// numbers, not in neither.
    fn space(&self) -> std::io::Result<Space> {
        let file = |name: &str| {
            let file = fs::metadata(self.directory.join(name));
            file.map_or(0, |file| ballast::allocated(&file).min(file.len().next_multiple_of(4096)))
        };
        let (database, log) = (file(schema::DATABASE), file(schema::LOG));
        let ballast = self.ballast.allocated();
        Ok(Space { database, log, ballast, ..space_of(&self.directory)? })
    }
}

/// The volume of a directory.
fn space_of(directory: &Path) -> std::io::Result<Space> {
    let volume = statvfs(directory)?;
    let bytes = |blocks: u64| blocks.saturating_mul(volume.fragment_size());
    // A file system without a limit, such as a tmpfs of size 0, has no blocks.
    let total = Some(bytes(volume.blocks())).filter(|total| *total > 0);
    Ok(Space { volume: total, available: bytes(volume.blocks_available()), ..Space::default() })
}

/// The length of the database with all committed pages.
fn database_bytes(connection: &Connection) -> Result<u64> {
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    Ok(pages.unsigned_abs().saturating_mul(u64::from(PAGE_BYTES)))
}

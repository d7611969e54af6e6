//! Errors of the embedded journal.

use std::{io::ErrorKind, path::Path};

use rusqlite::{ErrorCode, ffi};

use super::ballast;
use crate::receiver::journal::JournalError;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process uses this journal")]
    Locked,
    #[error(
        "the volume is on a network file system ({kind}), which does not guarantee durable syncs: use a StorageClass of block volumes or local disks"
    )]
    Network { kind: &'static str },
    #[error("the journal was written by a later version ({version}; this one knows up to {known})")]
    TooNew { version: usize, known: usize },
    #[error("SQLite did not enable the write-ahead log: the journal mode is {mode}")]
    NoLog { mode: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(
        "the database is corrupt ({source}): restore the volume from a backup, or delete it to start with an empty journal"
    )]
    Corrupt { source: rusqlite::Error },
    #[error("{}", with_code(.0))]
    Sqlite(rusqlite::Error),
}

impl OpenError {
    /// Whether every further attempt fails too, on this volume and with this version.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            OpenError::Network { .. } | OpenError::TooNew { .. } | OpenError::Corrupt { .. } => true,
            OpenError::Locked | OpenError::NoLog { .. } | OpenError::Io(_) | OpenError::Sqlite(_) => false,
        }
    }
}

impl OpenError {
    /// Whether the volume of `directory` cannot be written now, but may be later, without a restart of this process.
    #[must_use]
    pub fn is_unwritable(&self, directory: &Path) -> bool {
        let read_only = match self {
            OpenError::Io(error) => {
                matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
            }
            OpenError::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
            }
            OpenError::Locked
            | OpenError::Network { .. }
            | OpenError::TooNew { .. }
            | OpenError::NoLog { .. }
            | OpenError::Corrupt { .. } => false,
        };
        read_only || self.is_full(directory)
    }

    /// Whether the volume may have been full: SQLite reports that as any other I/O error in many places.
    pub(super) fn may_be_full(&self) -> bool {
        match self {
            OpenError::Io(error) => ballast::is_full(error),
            OpenError::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => true,
                Some(ErrorCode::SystemIoFailure) => !sync_failed(error),
                Some(_) | None => false,
            },
            OpenError::Locked
            | OpenError::Network { .. }
            | OpenError::TooNew { .. }
            | OpenError::NoLog { .. }
            | OpenError::Corrupt { .. } => false,
        }
    }

    /// Whether the volume of `directory` is full.
    pub(super) fn is_full(&self, directory: &Path) -> bool {
        match self {
            OpenError::Io(error) => ballast::is_full(error),
            OpenError::Sqlite(error) => volume_full(error, directory),
            OpenError::Locked
            | OpenError::Network { .. }
            | OpenError::TooNew { .. }
            | OpenError::NoLog { .. }
            | OpenError::Corrupt { .. } => false,
        }
    }
}

/// The text of an error with SQLite's extended code, which says which call failed.
fn with_code(error: &rusqlite::Error) -> String {
    match error.sqlite_error() {
        Some(code) => format!("{error} (SQLite's code {})", code.extended_code),
        None => error.to_string(),
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Corrupt { source },
            Some(_) | None => OpenError::Sqlite(source),
        }
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => JournalError::Full,
            Some(_) | None => JournalError::Failed { problem: error.to_string() },
        }
    }
}

/// Whether an operation failed because the volume of `directory` is full, or a quota is exhausted.
pub(super) fn volume_full(error: &rusqlite::Error, directory: &Path) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure) => !sync_failed(error) && ballast::out_of_space(directory),
        Some(_) | None => false,
    }
}

/// Whether a sync failed, so that the state of the disk is unknown.
pub(super) fn sync_failed(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

/// Whether another process uses the database, or holds a snapshot of it.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

//! The blocks of SQLite's shared-memory file, the index of the write-ahead log. SQLite maps it into memory. A page of it
//! that has no block on a full volume ends the process by SIGBUS, and SQLite makes sure of one block of each page only,
//! where blocks may be smaller than pages. So there are blocks for the file before SQLite opens it, and it has all of
//! them from then on.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use nix::fcntl::FallocateFlags;

use super::ballast::{self, Ballast};

pub(super) const SHARED_MEMORY: &str = "journal.sqlite-shm";
/// The length of two regions, which is enough for the longest log.
const BYTES: u64 = 64 << 10;

/// The allocated file. It stays open as long as SQLite uses it: closing any descriptor of a file releases the locks that
/// this process has on it.
#[derive(Debug)]
pub(super) struct SharedMemory {
    _file: File,
}

impl SharedMemory {
    /// Checks that there are blocks for the file before SQLite opens it. SQLite frees the blocks of an earlier process
    /// then, and needs them again.
    pub(super) fn check_space(directory: &Path) -> io::Result<()> {
        let allocated = fs::metadata(directory.join(SHARED_MEMORY)).map_or(0, |file| ballast::allocated(&file));
        if allocated < BYTES && ballast::out_of_space(directory) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Allocates the blocks of the file, which SQLite has opened. On a full volume it gives up the ballast.
    pub(super) fn allocate(directory: &Path) -> io::Result<Self> {
        let file = File::options().write(true).open(directory.join(SHARED_MEMORY))?;
        match allocate(&file) {
            Err(error) if ballast::is_full(&error) && Ballast::new(directory).give_up() => allocate(&file)?,
            allocated => allocated?,
        }
        Ok(SharedMemory { _file: file })
    }
}

fn allocate(file: &File) -> io::Result<()> {
    match ballast::allocate(file, BYTES, FallocateFlags::FALLOC_FL_KEEP_SIZE) {
        Err(errno) if !ballast::is_unsupported(errno) => Err(errno.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::journal::sqlite::{bounds::Bounds, schema};

    #[test]
    fn all_of_its_blocks_are_there_and_its_length_is_that_of_sqlite() {
        let directory = tempfile::tempdir().unwrap();
        assert!(SharedMemory::check_space(directory.path()).is_ok());
        let connection = schema::open(directory.path(), Bounds::LARGEST).unwrap();
        let length = || fs::metadata(directory.path().join(SHARED_MEMORY)).unwrap();
        let before = length().len();
        let _shared_memory = SharedMemory::allocate(directory.path()).unwrap();
        assert!(ballast::allocated(&length()) >= BYTES && length().len() == before);
        connection.execute("UPDATE heartbeat SET at = 1", []).unwrap();
    }
}

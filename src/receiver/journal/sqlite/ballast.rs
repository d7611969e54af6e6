//! A file that only occupies blocks. When the volume is full nevertheless, it is given up, so that the write-ahead log
//! can grow to its full length and be copied into the database: then events are settled and deleted, which makes room.
//! It is made again as soon as it fits.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};

use super::room::BallastState;

const BALLAST: &str = "journal.ballast";
const PROBE: &str = "journal.probe";
const PROBE_BYTES: u64 = 64 << 10;
/// `st_blocks` counts these, whatever the file system's blocks are.
const BLOCK_BYTES: u64 = 512;
/// The length of one write where blocks cannot be allocated otherwise.
const WRITE_BYTES: usize = 1 << 20;

/// The ballast of a journal.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    state: BallastState,
}

impl Ballast {
    /// The ballast in `directory`. It counts as in place after [`Ballast::fill`] only.
    pub(super) fn new(directory: &Path) -> Self {
        Ballast { path: directory.join(BALLAST), state: BallastState::NoRoom }
    }

    pub(super) fn state(&self) -> BallastState {
        self.state
    }

    /// The bytes that it occupies.
    pub(super) fn allocated(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| allocated(&file))
    }

    /// Frees its blocks. Returns whether it had any.
    pub(super) fn give_up(&mut self) -> bool {
        self.state = BallastState::NoRoom;
        let had = self.allocated() > 0;
        let given_up = had.then(|| File::options().write(true).open(&self.path)?.set_len(0)).transpose();
        if let Err(error) = &given_up {
            tracing::warn!(%error, "cannot give up the ballast of the journal volume");
        }
        had && given_up.is_ok()
    }

    /// Makes it occupy `bytes`.
    pub(super) fn fill(&mut self, bytes: u64) {
        let next = match fill(&self.path, bytes) {
            Ok(()) => BallastState::InPlace,
            Err(error) => {
                let state = if is_full(&error) { BallastState::NoRoom } else { BallastState::Failed };
                if state == BallastState::Failed && self.state != state {
                    tracing::warn!(%error, "cannot make a ballast on the journal volume");
                }
                self.give_up();
                state
            }
        };
        self.state = next;
    }
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    let there = file.metadata()?;
    if there.len() > bytes {
        file.set_len(bytes)?;
    }
    if there.len() == bytes && allocated(&there) >= bytes {
        return Ok(());
    }
    match allocate(&file, bytes, FallocateFlags::empty()) {
        Ok(()) if allocated(&file.metadata()?) >= bytes => return Ok(()),
        Err(errno) if !is_unsupported(errno) => return Err(errno.into()),
        Ok(()) | Err(_) => {}
    }
    write(&mut file, bytes)?;
    file.sync_data()
}

/// Allocates the first `bytes` of a file.
pub(super) fn allocate(file: &File, bytes: u64, flags: FallocateFlags) -> nix::Result<()> {
    let length = i64::try_from(bytes).map_err(|_| Errno::EFBIG)?;
    loop {
        match fallocate(file, flags, 0, length) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Whether the file system cannot allocate blocks otherwise than by writes.
pub(super) fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::EOPNOTSUPP | Errno::ENOSYS)
}

/// Writes `bytes` that no file system compresses or stores as a hole.
fn write(file: &mut File, bytes: u64) -> io::Result<()> {
    let mut noise = vec![0_u8; WRITE_BYTES];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = bytes;
    while left > 0 {
        for word in noise.chunks_exact_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_ne_bytes());
        }
        let piece = left.min(WRITE_BYTES as u64);
        file.write_all(noise.get(..piece as usize).unwrap_or(&noise))?;
        left -= piece;
    }
    Ok(())
}

pub(super) fn allocated(file: &fs::Metadata) -> u64 {
    file.blocks().saturating_mul(BLOCK_BYTES)
}

/// Whether the volume or the quota is exhausted.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether a few blocks cannot be allocated in `directory` because the volume or a quota is exhausted. SQLite reports a
/// quota, and a full volume where it cannot extend its shared memory, as any other I/O error.
pub(super) fn out_of_space(directory: &Path) -> bool {
    let probe = directory.join(PROBE);
    let probed =
        File::options().create(true).truncate(false).write(true).mode(0o600).open(&probe).and_then(|mut file| {
            match allocate(&file, PROBE_BYTES, FallocateFlags::empty()) {
                Err(errno) if is_unsupported(errno) => write(&mut file, PROBE_BYTES).and_then(|()| file.sync_data()),
                result => Ok(result?),
            }
        });
    // If it cannot be removed, the next probe uses the same blocks.
    let _ = fs::remove_file(&probe);
    probed.is_err_and(|error| is_full(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_occupies_blocks_until_it_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::new(directory.path());
        assert!(!ballast.give_up(), "there is none yet");
        for bytes in [3 << 20, 1 << 20, 5 << 20] {
            ballast.fill(bytes);
            assert_eq!(ballast.state(), BallastState::InPlace);
            let allocated = ballast.allocated();
            assert!((bytes..bytes + (1 << 16)).contains(&allocated), "{allocated} for {bytes}");
        }
        assert!(Ballast::new(directory.path()).give_up(), "a new process finds it");
        assert_eq!(ballast.allocated(), 0);
    }

    #[test]
    fn a_volume_with_space_is_not_full() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!out_of_space(directory.path()));
        assert!(!out_of_space(&directory.path().join("missing")), "another failure");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn written_blocks_are_real() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = File::create(directory.path().join("written")).unwrap();
        write(&mut file, (2 << 20) + 5).unwrap();
        file.sync_data().unwrap();
        let written = file.metadata().unwrap();
        assert_eq!(written.len(), (2 << 20) + 5);
        assert!(allocated(&written) > 2 << 20);
    }

    #[test]
    fn a_ballast_that_cannot_be_made_is_a_failure_and_not_a_full_volume() {
        let directory = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::new(&directory.path().join("missing"));
        ballast.fill(1 << 20);
        assert_eq!(ballast.state(), BallastState::Failed);
    }
}

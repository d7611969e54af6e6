//! A volume with a file system of its own, on a loop device in a mount namespace of its own. Receivers come and go in
//! that namespace. It ends with its holder, and the holder ends with its standard input, however this process ends: then
//! the kernel unmounts the volume and frees the loop device.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::fcntl::{FallocateFlags, fallocate};

use super::process::{self, Process};

/// The user of the receiver, as in its pod: a reserve for root is not for it.
const USER: &str = "65532";

/// A mounted volume, and the directory with the route file.
pub struct Volume {
    directory: tempfile::TempDir,
    holder: Child,
}

impl Volume {
    /// Makes and mounts an ext4 of `mib` MiB with a reserve for root of `reserve` percent.
    pub fn ext4(mib: u64, reserve: u64) -> Self {
        let directory = process::directory();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let make = format!(
            "cd $1; truncate -s {mib}m disk; mkfs.ext4 -q -m {reserve} disk; mount -o loop disk volume
             chown {USER}:{USER} volume; echo mounted; exec cat"
        );
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-euc", &make, "sh"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let volume = Volume { directory, holder };
        assert_eq!(line, "mounted\n", "cannot mount an ext4 on a loop device (as root, with e2fsprogs)");
        volume
    }

    /// The directory with the route file.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a receiver on the volume, as an unprivileged user.
    ///
    /// # Errors
    /// Its log, if it exits before it listens.
    pub fn start(&self) -> Result<Process, String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        command.args(["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"]);
        Process::within(&mut command, self.directory())
    }

    /// The allocated bytes of a file of the journal, or 0 if it does not exist, and its length.
    pub fn file(&self, name: &str) -> (u64, u64) {
        let file = self.inside().join("journal").join(name);
        fs::metadata(file).map_or((0, 0), |file| (file.blocks() * 512, file.len()))
    }

    /// The bytes of the file system, and those that an unprivileged user can still allocate.
    pub fn space(&self) -> (u64, u64) {
        let space = nix::sys::statvfs::statvfs(&self.inside()).unwrap();
        let unit = space.fragment_size();
        (space.blocks() * unit, space.blocks_available() * unit)
    }

    /// Fills the volume to its last block with a file that is not the journal's, the reserve for root included.
    pub fn take_all_space(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.inside().join("foreign")).unwrap();
        for length in [1 << 20, 1 << 12, 1 << 10] {
            while file.write_all(&vec![1; length]).and_then(|()| file.sync_data()).is_ok() {}
        }
    }

    /// Lets a foreign file take all blocks except about this number of bytes, as an unprivileged user sees them.
    pub fn leave_space(&self, bytes: u64) {
        let mut file = fs::File::options().create(true).append(true).open(self.inside().join("foreign")).unwrap();
        let mut length = self.space().1.saturating_sub(bytes);
        // The index of the file takes blocks as well.
        while length > 0 && fallocate(&file, FallocateFlags::empty(), 0, i64::try_from(length).unwrap()).is_err() {
            length = length.saturating_sub(4096);
        }
        for _ in 0..256 {
            if self.space().1 <= bytes || file.write_all(&[1; 1024]).and_then(|()| file.sync_data()).is_err() {
                break;
            }
        }
    }

    /// Removes the foreign file.
    pub fn free_space(&self) {
        fs::remove_file(self.inside().join("foreign")).unwrap();
    }

    /// Removes a file of the journal.
    pub fn remove(&self, name: &str) {
        // It may not exist.
        let _ = fs::remove_file(self.inside().join("journal").join(name));
    }

    fn inside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.directory().strip_prefix("/").unwrap()).join("volume")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

//! Which volumes a journal may be on. On a network file system neither its locks nor its shared memory nor its syncs can
//! be relied on (SQLite's own documentation of its write-ahead log asks for a local one), so it is refused.

use std::path::Path;

use nix::sys::statfs::statfs;

/// The magic numbers by which Linux tells file systems apart, and what people call them. Whatever is reached through
/// FUSE is among them: what stands behind it cannot be told.
const NETWORK: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x00c3_6400, "CephFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564c, "NCP"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
];

/// The network file system that `directory` is on, if it is on one.
pub(super) fn network(directory: &Path) -> std::io::Result<Option<&'static str>> {
    // The field's type differs from one platform to the next; the numbers have 32 bits.
    let magic = statfs(directory)?.filesystem_type().0 as u32;
    Ok(NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_directory_is_fine_and_one_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(network(directory.path()).unwrap(), None);
        assert!(network(&directory.path().join("missing")).is_err());
    }
}

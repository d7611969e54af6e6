//! Detects network file systems. On one, a journal cannot rely on locks, shared memory or syncs (SQLite's documentation
//! of the write-ahead log requires a local file system), so it is rejected.

use std::path::Path;

use nix::sys::statfs::statfs;

/// Linux' magic numbers of file systems, with their common names. FUSE is included: the backing storage is unknown.
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

/// The network file system of `directory`, if it is on one.
pub(super) fn network(directory: &Path) -> std::io::Result<Option<&'static str>> {
    // The field's type differs between platforms; the numbers have 32 bits.
    let magic = statfs(directory)?.filesystem_type().0 as u32;
    Ok(NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_directory_is_accepted_and_a_missing_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(network(directory.path()).unwrap(), None);
        assert!(network(&directory.path().join("missing")).is_err());
    }
}

//! Removes a node's traces in the kernel and the file system: containers, shims, mounts, cgroups, and fixed paths.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;

use super::node;
use super::process::Identity;
use super::starter;
use super::state::State;
use super::wait;

const CGROUPS: &str = "/sys/fs/cgroup";

/// Stops all containers: through containerd while it runs, else by the cluster's cgroup.
pub fn pods(state: &State) -> Result<()> {
    if let Some(containerd) = state.process("containerd").filter(|process| process.is_alive()) {
        // `ctr` is next to the running containerd, so the versions match.
        let ctr = fs::read_link(format!("/proc/{}/exe", containerd.pid))?.with_file_name("ctr");
        let socket = state.path(node::SOCKET).display().to_string();
        let output = Command::new(&ctr).args(["-a", &socket, "-n", "k8s.io", "tasks", "ls", "-q"]).output()?;
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        let tasks: Vec<&str> = listed.lines().collect();
        if !tasks.is_empty() {
            let mut arguments = vec!["-a", &socket, "-n", "k8s.io", "tasks", "delete", "--force"];
            arguments.extend(tasks);
            // ctr fails for a task that exited meanwhile; the cgroup below decides.
            let _ = starter::run(&ctr, &arguments);
        }
    }
    let gone = wait::briefly(Duration::from_secs(10), || {
        let left = processes_in_cgroups(state);
        left.iter().for_each(|process| process.signal(Signal::SIGKILL));
        left.is_empty()
    });
    ensure!(gone, "the cgroup {} still has processes after 10 s", node::cgroup(state));
    Ok(())
}

/// Stops the shims, which outlive containerd. They are identified by the socket of this cluster's containerd.
pub fn shims(state: &State) -> Result<()> {
    let socket = state.path(node::SOCKET);
    let socket = socket.as_os_str().as_encoded_bytes();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that exits meanwhile needs no stop.
        let (Some(shim), Ok(arguments)) = (Identity::of(pid), fs::read(entry.path().join("cmdline"))) else { continue };
        let mut arguments = arguments.split(|byte| *byte == 0);
        if arguments.any(|flag| flag == b"-address") && arguments.next() == Some(socket) {
            shim.end(Duration::from_secs(1));
        }
    }
    Ok(())
}

/// Unmounts everything below a directory, the innermost first.
pub fn mounts(dir: &Path) -> Result<()> {
    for mount in mounts_below(dir)? {
        // Detached at once: a process that still uses it keeps its own reference.
        umount2(&mount, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    Ok(())
}

/// The mount points below a directory, the latest first.
pub fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let points = table.split(|byte| *byte == b'\n').filter_map(mount_point);
    let mut below: Vec<PathBuf> = points.filter(|point| point != dir && point.starts_with(dir)).collect();
    below.reverse();
    Ok(below)
}

/// The fifth field of a mountinfo line, with octal escapes decoded.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = &after[3..];
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

/// The cluster's cgroup in each hierarchy (v1), or in the only one (v2).
pub fn cgroup_dirs(state: &State) -> Vec<PathBuf> {
    let own = node::cgroup(state);
    let mut hierarchies = vec![PathBuf::from(CGROUPS)];
    if !Path::new(CGROUPS).join("cgroup.controllers").exists() {
        let entries = fs::read_dir(CGROUPS).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| Vec::new());
        // Symlinks (cpu -> cpu,cpuacct) would name the same hierarchy twice.
        hierarchies = entries
            .iter()
            .filter(|entry| entry.path().is_dir() && !entry.path().is_symlink())
            .map(|entry| entry.path())
            .collect();
    }
    hierarchies.into_iter().map(|hierarchy| hierarchy.join(&own)).collect()
}

fn processes_in_cgroups(state: &State) -> Vec<Identity> {
    let mut found = Vec::new();
    for root in cgroup_dirs(state) {
        for dir in deepest_first(&root) {
            let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(pids.lines().filter_map(|pid| Identity::of(pid.parse().ok()?)));
        }
    }
    found
}

fn deepest_first(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let directories = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let mut all: Vec<PathBuf> = directories.flat_map(|path| deepest_first(&path)).collect();
    all.push(root.to_owned());
    all
}

/// Removes the cluster's cgroups.
pub fn cgroups(state: &State) -> Result<()> {
    for root in cgroup_dirs(state) {
        let gone = wait::briefly(Duration::from_secs(5), || {
            for dir in deepest_first(&root) {
                // Fails until the last process in it is reaped.
                let _ = fs::remove_dir(dir);
            }
            !root.exists()
        });
        if !gone {
            bail!("cannot remove {} within 5 s: it may still have processes", root.display());
        }
    }
    Ok(())
}

/// Removes files at fixed paths of the programs. Errors are ignored, since nothing depends on them.
pub fn traces(state: &State) {
    remove_links("/var/log/containers", &state.dir);
    if let Ok(results) = fs::read_dir("/var/lib/cni/results") {
        for entry in results.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("{}-", super::network::NAME)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    let _ = fs::remove_file("/var/lib/kubelet/device-plugins/kubelet.sock");
    // Removes empty directories only, so those of another runtime are safe.
    for dir in [
        "/var/log/containers",
        "/var/lib/cni/results",
        "/var/lib/cni",
        "/run/containerd/s",
        "/run/containerd",
        "/var/lib/kubelet/device-plugins",
        "/var/lib/kubelet",
    ] {
        let _ = fs::remove_dir(dir);
    }
}

fn remove_links(dir: &str, target: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(target)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::mount_point;

    #[test]
    fn a_mount_point_with_a_space_is_decoded() {
        let line = br"36 35 98:0 / /var/a\040b/c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/var/a b/c")));
        assert_eq!(mount_point(b"36 35"), None);
    }
}

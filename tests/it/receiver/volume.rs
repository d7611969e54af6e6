//! A full volume. Needs permission to mount a tmpfs.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use linktree_operator::route::status::JournalHealth;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::fixture::{self, Running, SECRET, delivery, until};

/// A small tmpfs. Unmounted on drop.
struct Volume(PathBuf);

impl Volume {
    fn mount(at: PathBuf) -> nix::Result<Self> {
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), Some("size=8m"))?;
        Ok(Volume(at))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A reader of the journal may not have closed it yet.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A receiver's directory, with a route without sinks, and the volume of its journal; `None` without permission to mount
/// one.
fn volume() -> Option<(TempDir, Volume)> {
    let directory = tempfile::tempdir().unwrap();
    let (journal, bytes) = (directory.path().join("journal"), fixture::route(vec![]).render().unwrap());
    fs::create_dir(&journal).unwrap();
    fs::write(directory.path().join(linktree_operator::route::FILE), bytes).unwrap();
    match Volume::mount(journal) {
        Ok(volume) => Some((directory, volume)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: cannot mount a volume ({error}): run this test as root");
            None
        }
    }
}

/// Fills all free space.
fn fill(file: &Path) {
    let mut file = fs::File::create(file).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}

#[tokio::test]
async fn a_full_volume_is_reported_at_once_and_recovers_when_space_returns() {
    let Some((directory, volume)) = volume() else { return };
    let journal = volume.0.clone();
    let receiver = Running::start_in(directory).await;
    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
    let big = |n: usize| delivery(&format!("big{n}"), &format!("[{n},\"{}\"]", "x".repeat(50_000)), SECRET);
    let first = receiver.deliver(&big(0)).await;
    assert_eq!(first, (200, r#"{"received":true}"#.to_owned()));
    fill(&journal.join("ballast"));
    let (mut kept, mut n) = (vec![0], 1);
    while receiver.deliver(&big(n)).await.0 == 200 {
        kept.push(n);
        n += 1;
        assert!(n < 500, "the volume never fills up");
    }
    let response = receiver.post(&big(n)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"10".parse().unwrap()));
    assert_eq!(receiver.status().await.journal, JournalHealth::Full);
    assert_eq!(receiver.get("/readyz").await.status(), 503);
    fs::remove_file(journal.join("ballast")).unwrap();
    until("the receiver is ready again", async || receiver.get("/readyz").await.status() == 200).await;
    assert_eq!(receiver.deliver(&big(n)).await, (200, r#"{"received":true}"#.to_owned()));
    for n in kept {
        assert_eq!(
            receiver.deliver(&big(n)).await.1,
            r#"{"duplicate":true}"#,
            "{n} was acknowledged, but is not stored"
        );
    }
    let directory = receiver.stop().await;
    drop(volume);
    drop(directory);
}

#[tokio::test]
async fn a_volume_that_cannot_be_written_at_the_start_is_reported_until_it_can() {
    let Some((mut directory, volume)) = volume() else { return };
    let journal = volume.0.clone();
    let remount = |flags| mount(None::<&str>, &journal, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>);
    for case in ["read-only", "full"] {
        match case {
            "full" => fill(&journal.join("other")),
            _ => remount(MsFlags::MS_RDONLY).unwrap(),
        }
        let receiver = Running::start_in(directory).await;
        until("the admin port answers", async || receiver.get("/status").await.status() == 401).await;
        assert!(matches!(receiver.status().await.journal, JournalHealth::Failed { .. }), "{case}");
        assert_eq!(receiver.get("/readyz").await.status(), 503, "{case}");
        assert_eq!(receiver.deliver(&delivery("d1", "{}", SECRET)).await.0, 503, "{case}");
        match case {
            "full" => fs::remove_file(journal.join("other")).unwrap(),
            _ => remount(MsFlags::empty()).unwrap(),
        }
        until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
        assert_eq!(receiver.deliver(&delivery("d1", "{}", SECRET)).await.0, 200, "{case}");
        directory = receiver.stop().await;
        for file in fs::read_dir(&journal).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    drop(volume);
}

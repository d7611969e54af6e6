//! Compares candidate journals under the same load: see docs/adr/0005. `journals EVENTS BATCH CANDIDATE…`, with the
//! candidates `digests:8192`, `prefixes:8192` and `filed:8192` for SQLite (layout of the identities and page size),
//! `fjall` and `log`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use rand::{Rng, SeedableRng, rngs::StdRng};

mod fjall_lsm;
mod log;
mod sqlite;

use sqlite::Layout;

type Digest = [u8; 16];

/// Events per second, which share the second of their signature.
const PER_SECOND: usize = 25_000;
/// The number of torn last commits, each at another place.
const TEARS: usize = 20;

/// An event and its identity.
pub(crate) struct Record {
    delivery: Digest,
    body_digest: Digest,
    signature: Digest,
    sent_at: i64,
    body: Vec<u8>,
}

/// The operations of a candidate.
pub(crate) trait Candidate {
    /// Stores the new events of `batch` in one durable commit. Returns their number.
    fn commit(&mut self, batch: &[Record]) -> Result<usize>;

    /// The number of stored events.
    fn events(&mut self) -> Result<usize>;
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, events, batch, candidates @ ..] = arguments.as_slice() else {
        anyhow::bail!("journals EVENTS BATCH CANDIDATE…");
    };
    let (events, batch): (usize, usize) = (events.parse()?, batch.parse()?);
    println!("| journal | CPU per event | events/s | commit p50 | commit p99 | reopened in | bytes per event | torn |");
    println!("|---|---|---|---|---|---|---|---|");
    for name in candidates {
        println!("{}", row(name, events, batch)?);
    }
    Ok(())
}

fn open(name: &str, directory: &Path) -> Result<Box<dyn Candidate>> {
    let (kind, page) = name.split_once(':').unwrap_or((name, "8192"));
    let page = page.parse()?;
    Ok(match kind {
        "digests" => Box::new(sqlite::Sqlite::open(directory, Layout::Digests, page)?),
        "prefixes" => Box::new(sqlite::Sqlite::open(directory, Layout::Prefixes, page)?),
        "filed" => Box::new(sqlite::Sqlite::open(directory, Layout::Filed, page)?),
        "fjall" => Box::new(fjall_lsm::Fjall::open(directory)?),
        "log" => Box::new(log::Log::open(directory)?),
        _ => anyhow::bail!("unknown candidate: {name}"),
    })
}

/// Runs the load, a restart with all events, and torn commits.
fn row(name: &str, events: usize, batch: usize) -> Result<String> {
    let directory = workplace()?;
    let mut journal = open(name, directory.path())?;
    let mut random = StdRng::seed_from_u64(7);
    let (mut took, mut cpu_used) = (Vec::new(), Duration::ZERO);
    for number in 0..events / batch {
        let batch = records(&mut random, batch, number);
        let (before, began) = (cpu()?, Instant::now());
        ensure!(journal.commit(&batch)? == batch.len());
        took.push(began.elapsed());
        cpu_used += cpu()? - before;
    }
    let wall: Duration = took.iter().sum();
    took.sort();
    drop(journal);
    let began = Instant::now();
    let mut journal = open(name, directory.path())?;
    let again = records(&mut StdRng::seed_from_u64(7), batch, 0);
    ensure!(journal.commit(&again)? == 0, "{name} does not recognize stored events as duplicates");
    let restart = began.elapsed();
    let kept = journal.events()?;
    Ok(format!(
        "| {name} | {:.1} µs | {:.0} | {:.2} ms | {:.1} ms | {:.0} ms | {} | {} of {TEARS} good |",
        cpu_used.as_secs_f64() * 1e6 / kept as f64,
        kept as f64 / wall.as_secs_f64(),
        took[took.len() / 2].as_secs_f64() * 1e3,
        took[took.len() * 99 / 100].as_secs_f64() * 1e3,
        restart.as_secs_f64() * 1e3,
        files(directory.path())?.iter().map(|(_, bytes)| bytes).sum::<u64>() / kept as u64,
        torn(name)?,
    ))
}

/// Counts how often of [`TEARS`] times a journal with a torn last commit still opens and has all earlier commits. The
/// data of the last commit is truncated, and zeroed from an earlier offset, like on a disk that lost power before the
/// commit was synced.
fn torn(name: &str) -> Result<usize> {
    const COMMITS: usize = 20;
    const BATCH: usize = 64;
    let mut good = 0;
    for seed in 0..TEARS as u64 {
        let directory = workplace()?;
        let mut random = StdRng::seed_from_u64(seed);
        let mut journal = open(name, directory.path())?;
        for number in 0..COMMITS {
            journal.commit(&records(&mut random, BATCH, number))?;
        }
        let before = files(directory.path())?;
        journal.commit(&records(&mut random, BATCH, COMMITS))?;
        // The process is killed, so it writes nothing at its exit.
        let copy = workplace()?;
        for (path, length) in files(directory.path())? {
            let old = before.iter().find(|(known, _)| *known == path).map_or(0, |(_, length)| *length);
            let target = copy.path().join(path.strip_prefix(directory.path())?);
            fs::create_dir_all(target.parent().context("below the directory")?)?;
            let mut bytes = fs::read(&path)?;
            // SQLite rebuilds its index of the log; a power cut leaves nothing of it.
            if path.extension().is_some_and(|extension| extension == "sqlite-shm") {
                continue;
            }
            if length > old {
                let cut = random.random_range(old..length) as usize;
                let zeroed = random.random_range(old as usize..=cut);
                bytes.truncate(cut);
                bytes[zeroed..].fill(0);
            }
            fs::write(target, bytes)?;
        }
        let opened = open(name, copy.path()).and_then(|mut journal| journal.events());
        good += usize::from(opened.is_ok_and(|events| (COMMITS * BATCH..=(COMMITS + 1) * BATCH).contains(&events)));
    }
    Ok(good)
}

fn records(random: &mut StdRng, count: usize, batch: usize) -> Vec<Record> {
    let sent_at = 1_700_000_000 + (batch * count / PER_SECOND) as i64;
    let record = |random: &mut StdRng| {
        let mut body = vec![b'x'; 1024];
        random.fill(&mut body[..32]);
        Record { delivery: random.random(), body_digest: random.random(), signature: random.random(), sent_at, body }
    };
    (0..count).map(|_| record(random)).collect()
}

/// User and system time of this process so far, its threads included.
fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let times = [usage.user_time(), usage.system_time()];
    let micros: i64 = times.iter().map(|time| time.tv_sec() * 1_000_000 + time.tv_usec()).sum();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// A directory on the measured disk: JOURNALS_DIRECTORY, or the current one.
fn workplace() -> Result<tempfile::TempDir> {
    let below = std::env::var_os("JOURNALS_DIRECTORY").map_or_else(|| PathBuf::from("."), PathBuf::from);
    Ok(tempfile::tempdir_in(below)?)
}

/// All files below `path`, with their lengths.
fn files(path: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.metadata()?.is_dir() {
            found.append(&mut files(&entry.path())?);
        } else {
            found.push((entry.path(), entry.metadata()?.len()));
        }
    }
    Ok(found)
}

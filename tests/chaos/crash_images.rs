//! Power cuts in a recorded run: builds possible disk contents at each cut, opens them with the real journal, and
//! checks that every delivery acknowledged before is stored once.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    sync::{Arc, Mutex, mpsc},
};

use linktree_operator::receiver::journal::{Appended, Journal, sqlite::SqliteJournal};
use prometheus_client::metrics::histogram::Histogram;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    deliveries::Delivery,
    disk::{Disk, Fate, Image},
    trace::{self, Ports, Step},
};

const FATES: [Fate; 6] =
    [Fate::Nothing, Fate::Everything, Fate::Torn(0.5), Fate::Prefix, Fate::Torn(0.9), Fate::Torn(0.1)];

/// A recorded run: its steps, and the deliveries of each connection in order.
pub struct Run {
    pub steps: Vec<Step>,
    pub sent: HashMap<Ports, Vec<Delivery>>,
}

/// One power cut.
struct Cut {
    name: String,
    seed: u64,
    image: Image,
    /// The number of deliveries acknowledged before the cut.
    acknowledged: usize,
}

impl Run {
    /// Adds the steps of one process. Its last steps may be missing in the trace; they are derived from the files, as
    /// writes without a sync.
    pub fn record(&mut self, steps: Vec<Step>, root: &Path) {
        self.steps.extend(steps);
        let mut disk = Disk::new(root);
        self.steps.iter().for_each(|step| disk.apply(step));
        for entry in fs::read_dir(root.join("journal")).into_iter().flatten() {
            let path = entry.unwrap().path();
            if !trace::is_ignored(&path) {
                self.steps.extend(disk.differences(&path, &fs::read(&path).unwrap()));
            }
        }
    }

    /// The deliveries answered 200, in the order of the responses, and their number before each step.
    fn acknowledged(&self) -> (Vec<Delivery>, Vec<usize>) {
        let (mut all, mut before) = (Vec::new(), Vec::with_capacity(self.steps.len()));
        let mut answered: HashMap<Ports, usize> = HashMap::new();
        for step in &self.steps {
            before.push(all.len());
            let Step::Answer { on, status } = step else { continue };
            let Some(sent) = self.sent.get(on) else { continue };
            let n = answered.entry(*on).or_default();
            if *status == 200 {
                all.push(sent[*n].clone());
            }
            *n += 1;
        }
        before.push(all.len());
        (all, before)
    }

    /// Cuts the power around every sync, `cuts` times in total, and at the end. Returns the number of cuts and the
    /// violations.
    pub fn cut_power(&self, root: &Path, cuts: usize, seed: u64) -> (usize, Vec<String>) {
        let (acknowledged, before) = self.acknowledged();
        let syncs = self.steps.iter().filter(|step| matches!(step, Step::Sync { .. })).count();
        // Before a sync any disk content is possible; right after it, and at the end, the worst case is checked.
        let each = cuts.div_ceil(syncs.max(1)).max(1);
        let (images, queue) = mpsc::sync_channel::<Cut>(4);
        let queue = Arc::new(Mutex::new(queue));
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let mut tried = 0;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (queue, wrong, acknowledged) = (Arc::clone(&queue), Arc::clone(&wrong), &acknowledged);
                scope.spawn(move || {
                    loop {
                        let Ok(cut) = queue.lock().unwrap().recv() else { return };
                        let found = cut.check(root, &acknowledged[..cut.acknowledged]);
                        wrong.lock().unwrap().extend(found.into_iter().map(|what| format!("{}: {what}", cut.name)));
                    }
                });
            }
            let mut disk = Disk::new(root);
            let mut cut = |disk: &Disk, n: usize, fate: Fate, variant: u64| {
                let seed = seed ^ ((n as u64) << 16) ^ variant;
                let image = disk.image(fate, &mut StdRng::seed_from_u64(seed));
                let name = format!("cut before step {n}, {fate:?}");
                images.send(Cut { name, seed, image, acknowledged: before[n] }).unwrap();
                tried += 1;
            };
            for (n, step) in self.steps.iter().enumerate() {
                if matches!(step, Step::Sync { .. }) {
                    for variant in 0..each - 1 {
                        cut(&disk, n, FATES[variant % FATES.len()], variant as u64);
                    }
                    disk.apply(step);
                    cut(&disk, n + 1, Fate::Nothing, 0);
                } else {
                    disk.apply(step);
                }
            }
            cut(&disk, self.steps.len(), Fate::Nothing, 0);
            drop(images);
        });
        let wrong = std::mem::take(&mut *wrong.lock().unwrap());
        (tried, wrong)
    }
}

impl Cut {
    /// Opens the journal of a cut, and compares it with the acknowledged deliveries.
    fn check(&self, root: &Path, acknowledged: &[Delivery]) -> Vec<String> {
        // In memory if possible: these images need no disk.
        let place =
            if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm") } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        let directory = tempfile::tempdir_in(place).unwrap();
        for (path, content) in &self.image {
            let path = directory.path().join(path.strip_prefix(root).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let journal = directory.path().join("journal");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut wrong = runtime.block_on(async {
            match SqliteJournal::open(&journal, Histogram::new([0.1])) {
                Ok(open) => self.check_memory(&open, acknowledged).await,
                Err(error) => vec![format!("does not open: {error}")],
            }
        });
        wrong.extend(check_events(&journal, acknowledged));
        wrong
    }

    /// Checks that the last acknowledged deliveries, and a sample of the others, are duplicates.
    async fn check_memory(&self, journal: &SqliteJournal, acknowledged: &[Delivery]) -> Vec<String> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let last = acknowledged.iter().rev().take(2);
        let some = (0..2).filter_map(|_| acknowledged.get(rng.random_range(0..acknowledged.len().max(1))));
        let mut wrong = Vec::new();
        for delivery in last.chain(some) {
            let again = journal.append(delivery.event()).await;
            if again != Ok(Appended::Duplicate) {
                wrong.push(format!("{} was acknowledged; again: {again:?}", delivery.id));
            }
        }
        journal.close().await.unwrap();
        wrong
    }
}

/// Compares the events in a closed journal with the acknowledged ones.
pub fn check_events(journal: &Path, acknowledged: &[Delivery]) -> Vec<String> {
    let database = rusqlite::Connection::open(journal.join("journal.sqlite")).unwrap();
    let mut statement = database.prepare("SELECT name FROM events").unwrap();
    let names: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let once: HashSet<&str> = names.iter().map(String::as_str).collect();
    let lost = acknowledged.iter().filter(|delivery| !once.contains(delivery.id.as_str())).count();
    let mut wrong = Vec::new();
    if lost > 0 {
        wrong.push(format!("{lost} of {} acknowledged are lost", acknowledged.len()));
    }
    if once.len() < names.len() {
        wrong.push(format!("{} are stored twice", names.len() - once.len()));
    }
    let intact: String = database.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
    if intact != "ok" {
        wrong.push(intact);
    }
    wrong
}

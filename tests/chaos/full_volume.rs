//! Volumes that are really full: nothing but the sink changes, and all acknowledged events arrive and deliveries are
//! accepted again. Also across a kill, a restart and the end of the retention while the volume is full.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use linktree_operator::route::{Forwarding, Route};

use super::{
    deliveries::{Connection, Delivery},
    process::{self, Process},
    row::{Row, full},
    sink::Sink,
    volume::Volume,
};

/// Concurrent cases: much of a case is waiting.
const AT_ONCE: usize = 3;
/// Concurrent senders of a case.
const SENDERS: usize = 16;
/// After this many rejections in a row, a sender takes the journal for full.
const REJECTIONS: usize = 20;
/// How long a drain may take without any progress.
const STALLED: Duration = Duration::from_secs(60);

/// The state of the sink until the volume is full.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Healthy,
    Paused,
    /// Answers with this status, which is not the event's fault.
    Dead(u16),
    /// Rejects each event, so that all become dead letters, which expire.
    Rejecting,
}

/// An event between the filling of the volume and the recovery of the sink.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meanwhile {
    Nothing,
    Kill,
    KillTwice,
    Retention,
    /// A foreign file takes every block that is left.
    Foreign,
    /// The same before the journal is full, when log and database would still grow.
    ForeignEarly,
    /// The same while the receiver is down.
    ForeignAndKill,
}

#[derive(Clone, Copy)]
struct Case {
    mib: u64,
    /// The reserve for root, in percent.
    reserve: u64,
    body_bytes: usize,
    before: Before,
    meanwhile: Meanwhile,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { mib, reserve, body_bytes, before, meanwhile } = self;
        write!(f, "{mib}Mi, reserve {reserve} %, {body_bytes} bytes, {before:?}, {meanwhile:?}")
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let meanwhile = [Meanwhile::Nothing, Meanwhile::Kill, Meanwhile::Retention, Meanwhile::KillTwice];
    for (mib, small) in [(64, 1_000), (256, 4_000), (1024, 16_000)] {
        for reserve in [0, 5] {
            for body_bytes in [small, 250_000] {
                for before in [Before::Healthy, Before::Paused, Before::Dead(503), Before::Rejecting] {
                    let meanwhile = meanwhile[(cases.len() + cases.len() / 4) % meanwhile.len()];
                    cases.push(Case { mib, reserve, body_bytes, before, meanwhile });
                }
            }
        }
    }
    for body_bytes in [1_000, 250_000] {
        for meanwhile in [Meanwhile::Foreign, Meanwhile::ForeignEarly, Meanwhile::ForeignAndKill] {
            cases.push(Case { mib: 64, reserve: 0, body_bytes, before: Before::Paused, meanwhile });
        }
    }
    if full() {
        return cases;
    }
    // A smaller volume than a webhook may have: this build takes its time for each byte.
    let quick = |before, meanwhile, reserve| Case { mib: 24, reserve, body_bytes: 20_000, before, meanwhile };
    vec![
        quick(Before::Dead(503), Meanwhile::Nothing, 0),
        quick(Before::Healthy, Meanwhile::KillTwice, 5),
        quick(Before::Rejecting, Meanwhile::Nothing, 0),
        Case { body_bytes: 2_000, ..quick(Before::Paused, Meanwhile::ForeignEarly, 0) },
    ]
}

#[test]
fn full_volumes_heal() {
    let mut row = Row::new("full volumes", "full_volumes_heal");
    let only = std::env::var("CHAOS_ONLY").unwrap_or_default();
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.to_string().contains(&only)).collect();
    row.tried(cases.len());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (_acknowledged, violations) = run(*case);
                    wrong.lock().unwrap().extend(violations.into_iter().map(|what| format!("{case}: {what}")));
                }
            });
        }
    });
    wrong.into_inner().unwrap().into_iter().for_each(|what| row.violated(what));
    row.finish();
}

/// Runs one case. Returns the number of acknowledged events and the violations.
fn run(case: Case) -> (usize, Vec<String>) {
    let volume = Volume::ext4(case.mib, case.reserve);
    let sink = Sink::start();
    let mut route = process::route(Some(sink.address));
    route.capacity_bytes = case.mib << 20;
    match case.before {
        Before::Healthy => {}
        Before::Paused => route.forwarding = Forwarding::Paused,
        Before::Dead(status) => sink.answer(status),
        Before::Rejecting => sink.answer(400),
    }
    if case.meanwhile == Meanwhile::Retention || case.before == Before::Rejecting {
        route.retention_seconds = 1;
        route.dead_letter_retention_seconds = 1;
    }
    process::write_route(volume.directory(), &route);
    let watched = Watched::new(&volume);
    let (acknowledged, mut wrong) = thread::scope(|scope| {
        scope.spawn(|| watched.watch());
        let _ends = Ends(&watched.done);
        fill_and_heal(case, &volume, &sink, route)
    });
    wrong.extend(watched.violations());
    (acknowledged, wrong)
}

fn fill_and_heal(case: Case, volume: &Volume, sink: &Sink, mut route: Route) -> (usize, Vec<String>) {
    let mut wrong = Vec::new();
    let mut receiver = match volume.start() {
        Ok(receiver) => receiver,
        Err(log) => return (0, vec![format!("does not start: {log}")]),
    };
    receiver.until_ready();
    let most = usize::try_from((2 * case.mib) << 20).unwrap() / case.body_bytes.max(2_000);
    let early = (case.meanwhile == Meanwhile::ForeignEarly).then(|| {
        let early = fill(&receiver, case, 0, most / 3);
        volume.take_all_space();
        early
    });
    let mut filling = fill(&receiver, case, early.as_ref().map_or(0, |early| early.next), most);
    filling.acknowledged.extend(early.into_iter().flat_map(|early| early.acknowledged));
    if matches!(case.before, Before::Healthy | Before::Rejecting) {
        if filling.acknowledged.is_empty() {
            wrong.push("nothing was accepted".to_owned());
        }
    } else if !filling.full {
        wrong.push(format!("never full after {} events", filling.acknowledged.len()));
    } else if !filling.other.is_empty() {
        wrong.push(format!("answers of a full journal: {:?}", filling.other));
    }
    let kills = match case.meanwhile {
        Meanwhile::Nothing | Meanwhile::Retention | Meanwhile::Foreign | Meanwhile::ForeignEarly => 0,
        Meanwhile::Kill | Meanwhile::ForeignAndKill => 1,
        Meanwhile::KillTwice => 2,
    };
    if case.meanwhile == Meanwhile::Foreign {
        volume.take_all_space();
    }
    for _ in 0..kills {
        receiver.kill();
        if case.meanwhile == Meanwhile::ForeignAndKill {
            volume.take_all_space();
        }
        receiver = match volume.start() {
            Ok(receiver) => receiver,
            Err(log) => {
                wrong.push(format!("does not start on the full volume: {log}"));
                return (filling.acknowledged.len(), wrong);
            }
        };
    }
    route.forwarding = Forwarding::On;
    sink.answer(204);
    process::write_route(volume.directory(), &route);
    let acknowledged = &filling.acknowledged;
    if case.before != Before::Rejecting
        && let Err(missing) = drained(sink, acknowledged)
    {
        wrong.push(format!("{missing} of {} acknowledged events never arrive", acknowledged.len()));
        return (acknowledged.len(), wrong);
    }
    // Enough for the journal to reuse the space, and not all at once what is left of a volume.
    let more = Case { before: Before::Healthy, ..case };
    let again = accepted_again(&receiver, more, filling.next);
    if let Err(answer) = &again {
        wrong.push(format!("the sink has all events, and a delivery is answered {answer}"));
    } else if let Err(missing) = drained(sink, &again.unwrap_or_default()) {
        wrong.push(format!("{missing} events that were accepted afterwards never arrive"));
    }
    (acknowledged.len(), wrong)
}

/// The result of filling a volume.
struct Filling {
    acknowledged: Vec<String>,
    /// Whether the senders met a journal that stayed full.
    full: bool,
    /// Answers besides 200 and 503.
    other: Vec<String>,
    /// The number of the next delivery.
    next: usize,
}

/// Sends deliveries until the journal stays full, or `most` are accepted.
fn fill(receiver: &Process, case: Case, first: usize, most: usize) -> Filling {
    let (next, is_full) = (AtomicUsize::new(first), AtomicBool::new(false));
    let (acknowledged, other) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                let Ok(mut connection) = Connection::open(receiver.delivery) else { return };
                let mut rejections = 0;
                while !is_full.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if acknowledged.lock().unwrap().len() >= most {
                        return;
                    }
                    let delivery = sized(n, case.body_bytes);
                    match connection.deliver(&delivery) {
                        Ok((200, _)) => {
                            rejections = 0;
                            acknowledged.lock().unwrap().push(delivery.id);
                        }
                        Ok((503, _)) => {
                            rejections += 1;
                            thread::sleep(Duration::from_millis(50));
                            if rejections >= REJECTIONS {
                                is_full.store(true, Ordering::Relaxed);
                            }
                        }
                        Ok((status, body)) => other.lock().unwrap().push(format!("{status} {body}")),
                        // The receiver closes a connection with an early answer.
                        Err(_) => match Connection::open(receiver.delivery) {
                            Ok(new) => connection = new,
                            Err(_) => return,
                        },
                    }
                }
            });
        }
    });
    let (acknowledged, other) = (acknowledged.into_inner().unwrap(), other.into_inner().unwrap());
    Filling { acknowledged, full: is_full.into_inner(), other, next: next.into_inner() }
}

fn sized(n: usize, bytes: usize) -> Delivery {
    let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"l{n}","title":"{}"}}}}"#, "x".repeat(bytes));
    Delivery { body, ..Delivery::numbered(n) }
}

/// Waits until the sink has all events; the number that is missing once there is no progress any more.
fn drained(sink: &Sink, acknowledged: &[String]) -> Result<(), usize> {
    let (mut fewest, mut since) = (usize::MAX, Instant::now());
    loop {
        let taken: HashSet<String> = sink.taken().into_keys().collect();
        let missing = acknowledged.iter().filter(|id| !taken.contains(*id)).count();
        if missing == 0 {
            return Ok(());
        }
        if missing < fewest {
            (fewest, since) = (missing, Instant::now());
        }
        if since.elapsed() > STALLED {
            return Err(missing);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Sends deliveries one by one until a hundred are accepted; the last answer if they are not within a minute.
fn accepted_again(receiver: &Process, case: Case, first: usize) -> Result<Vec<String>, String> {
    let (mut ids, mut answer) = (Vec::new(), "nothing".to_owned());
    let began = Instant::now();
    for n in first.. {
        if ids.len() == 100 {
            break;
        }
        if began.elapsed() > STALLED {
            return Err(format!("{answer}, {} accepted", ids.len()));
        }
        let delivery = sized(n, case.body_bytes);
        match Connection::open(receiver.delivery).and_then(|mut connection| connection.deliver(&delivery)) {
            Ok((200, _)) => ids.push(delivery.id),
            other => {
                answer = format!("{other:?}");
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
    Ok(ids)
}

/// Sets a flag on drop, also in a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The greatest lengths of the log and of the ballast.
struct Watched<'a> {
    volume: &'a Volume,
    done: AtomicBool,
    log: AtomicU64,
    ballast: AtomicU64,
}

impl<'a> Watched<'a> {
    fn new(volume: &'a Volume) -> Self {
        Watched { volume, done: AtomicBool::new(false), log: AtomicU64::new(0), ballast: AtomicU64::new(0) }
    }

    fn watch(&self) {
        while !self.done.load(Ordering::Relaxed) {
            for (name, greatest) in [("journal.sqlite-wal", &self.log), ("journal.ballast", &self.ballast)] {
                let (allocated, length) = self.volume.file(name);
                greatest.fetch_max(allocated.max(length), Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn violations(&self) -> Vec<String> {
        // The last blocks of a file may be partly used.
        let bound = (self.volume.space().0 / 16).min(32 << 20) + 16_384;
        let lengths = [("log", &self.log), ("ballast", &self.ballast)];
        let lengths = lengths.map(|(name, length)| (name, length.load(Ordering::Relaxed)));
        let wrong = lengths.into_iter().filter(|(_, length)| *length > bound);
        wrong.map(|(name, length)| format!("the {name} has {length} bytes, more than {bound}")).collect()
    }
}

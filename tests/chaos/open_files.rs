//! Few open files: more connections than the process has files for, of several kinds, beside several sinks. Probes are
//! answered meanwhile, an open connection is served, the sinks get its events, and new connections are served once the
//! others are closed.

use std::time::{Duration, Instant};

use linktree_operator::route::Sink;
use rand::seq::SliceRandom;
use url::Url;

use super::{
    deliveries::{self, Connection, Delivery, in_time},
    flood::{Kind, flood},
    process::{self, Process},
    recorder::{Recorder, Step},
    row::{Row, count},
};

/// How long a probe may take: the kubelet's default allows one second, and this machine may be busy.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections from one address.
const PER_ADDRESS: usize = 200;
/// Files that a process has open for itself.
const OWN_FILES: usize = 32;
/// The interval of log lines of one kind.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Events for sinks that never answer: more than are under way to one at once.
const HANGING: usize = 12;
const HANG: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug)]
struct Case {
    soft: usize,
    hard: usize,
    sinks: usize,
    /// Whether the sinks accept connections and never answer.
    hang: bool,
    kind: Kind,
}

#[test]
fn few_open_files() {
    let mut row = Row::new("few open files", "few_open_files");
    linktree_operator::open_files::raise_limit();
    let mut cases = Vec::new();
    for (soft, hard) in [(64, 64), (128, 128), (256, 256), (512, 512), (1024, 1024), (64, 512), (1024, 4096)] {
        for (sinks, hang) in [(0, false), (1, false), (8, false), (64, false), (1, true), (8, true), (64, true)] {
            cases.extend(Kind::ALL.map(|kind| Case { soft, hard, sinks, hang, kind }));
        }
    }
    cases.shuffle(&mut row.rng());

    for case in cases.into_iter().take(count(140, 5)) {
        let wrong = run(case);
        row.tried(1);
        wrong.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}

fn run(case: Case) -> Vec<String> {
    let Case { soft, hard, sinks, hang, kind } = case;
    let began = Instant::now();
    let recorder = if hang { Recorder::start(|_| vec![Step::Wait(HANG)]) } else { Recorder::healthy() };
    let directory = process::directory();
    let mut route = process::route(None);
    route.sinks = (0..sinks).map(|n| sink(&recorder, n)).collect();
    process::write_route(directory.path(), &route);
    let receiver = match Process::with_files(directory.path(), soft, hard) {
        Ok(receiver) => receiver,
        Err(log) => return vec![format!("it does not start: {log}")],
    };
    receiver.until_ready();
    let mut wrong = Vec::new();
    let mut own = Connection::open(receiver.delivery).unwrap();
    let deliver = |connection: &mut Connection, n: usize| connection.deliver(&Delivery::numbered(n));
    assert_eq!(deliver(&mut own, 0).unwrap().0, 200);
    for n in (10..10 + HANGING).filter(|_| hang) {
        assert_eq!(deliver(&mut own, n).unwrap().0, 200);
    }
    let others = flood(receiver.delivery, kind, hard + 200, PER_ADDRESS);
    for path in ["/healthz", "/readyz"] {
        let began = Instant::now();
        let answer = deliveries::get(receiver.admin, path);
        if !answer.as_ref().is_ok_and(|(status, _)| *status == 200) || began.elapsed() > PROBE_TIMEOUT {
            wrong.push(format!("{path} with {} connections: {answer:?} after {:?}", others.len(), began.elapsed()));
        }
    }
    let answer = deliver(&mut own, 1);
    if !answer.as_ref().is_ok_and(|(status, _)| *status == 200) {
        wrong.push(format!("an open connection, with {} others: {answer:?}", others.len()));
    }
    // Each needs a connection of its own at the same time.
    if !hang && OWN_FILES + sinks <= hard / 2 && !in_time(|| recorder.requests().len() >= 2 * sinks) {
        wrong.push(format!("{} of {} events reached their sinks", recorder.requests().len(), 2 * sinks));
    }
    drop(others);
    let served = || Connection::open(receiver.delivery).and_then(|mut new| deliver(&mut new, 2));
    if !in_time(|| served().is_ok_and(|(status, _)| status == 200)) {
        wrong.push(format!("a new connection after the others were closed: {:?}", served()));
    }
    let log = receiver.log();
    let accepts = log.iter().filter(|line| line.contains("accept failed")).count();
    let intervals = usize::try_from(began.elapsed().as_secs() / LINE_INTERVAL.as_secs()).unwrap();
    if accepts > 1 + intervals {
        wrong.push(format!("{accepts} lines about failed accepts in {:?}", began.elapsed()));
    }
    if let Some(panicked) = log.iter().find(|line| line.contains("panicked")) {
        wrong.push(panicked.clone());
    }
    wrong
}

/// A sink at an address of its own, so that it shares no connection with the others.
fn sink(recorder: &Recorder, n: usize) -> Sink {
    let url = Url::parse(&format!("http://127.0.1.{}:{}/", n + 1, recorder.address.port())).unwrap();
    Sink::new(&format!("s{n}"), url)
}

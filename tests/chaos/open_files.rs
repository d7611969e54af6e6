//! Few open files: more connections than the process has files for, of several kinds, beside several sinks. Probes are
//! answered meanwhile, an open connection is served, the sinks get its events, and new connections are served once the
//! others are closed.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use linktree_operator::route::Sink;
use rand::seq::SliceRandom;
use socket2::{Domain, SockAddr, Socket, Type};
use url::Url;

use super::{
    deliveries::{self, Connection, Delivery, in_time},
    process::{self, Process},
    recorder::Recorder,
    row::{Row, count},
};

/// How long a probe may take: the kubelet's default allows one second, and this machine may be busy.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// Consecutive connections that were not accepted, after which more are pointless.
const REJECTED_MAX: usize = 5;
/// Connections from one address.
const PER_ADDRESS: usize = 200;
/// Files that a process has open for itself.
const OWN_FILES: usize = 32;
/// Lines about failed accepts in one case.
const LINES_MAX: usize = 3;

/// What the connections do.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Silent,
    /// A request without its end.
    HalfHeader,
    /// A header without its body.
    NoBody,
    /// An answered request on a connection that stays open.
    Idle,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    soft: usize,
    hard: usize,
    sinks: usize,
    kind: Kind,
}

#[test]
fn few_open_files() {
    let mut row = Row::new("few open files", "few_open_files");
    linktree_operator::open_files::raise_limit();
    let mut cases = Vec::new();
    for (soft, hard) in [(64, 64), (128, 128), (256, 256), (512, 512), (1024, 1024), (64, 512), (1024, 4096)] {
        for sinks in [0, 1, 8, 64] {
            cases.extend([Kind::Silent, Kind::HalfHeader, Kind::NoBody, Kind::Idle].map(|kind| Case {
                soft,
                hard,
                sinks,
                kind,
            }));
        }
    }
    cases.shuffle(&mut row.rng());
    for case in cases.into_iter().take(count(112, 5)) {
        let wrong = run(case);
        row.tried(1);
        wrong.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}

fn run(case: Case) -> Vec<String> {
    let Case { soft, hard, sinks, kind } = case;
    let recorder = Recorder::healthy();
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
    let others = flood(receiver.delivery, kind, hard + 200);
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
    if OWN_FILES + sinks <= hard / 2 && !in_time(|| recorder.requests().len() >= 2 * sinks) {
        wrong.push(format!("{} of {} events reached their sinks", recorder.requests().len(), 2 * sinks));
    }
    drop(others);
    let served = || Connection::open(receiver.delivery).and_then(|mut new| deliver(&mut new, 2));
    if !in_time(|| served().is_ok_and(|(status, _)| status == 200)) {
        wrong.push(format!("a new connection after the others were closed: {:?}", served()));
    }
    let log = receiver.log();
    let accepts = log.iter().filter(|line| line.contains("accept failed")).count();
    if accepts > LINES_MAX {
        wrong.push(format!("{accepts} lines about failed accepts"));
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

/// Opens `count` connections, or as many as are accepted.
fn flood(address: SocketAddr, kind: Kind, count: usize) -> Vec<TcpStream> {
    let (mut streams, mut rejected) = (Vec::new(), 0);
    for n in 0..count {
        match open(address, kind, n) {
            Ok(stream) => {
                rejected = 0;
                streams.push(stream);
            }
            Err(_) if rejected == REJECTED_MAX => break,
            Err(_) => rejected += 1,
        }
    }
    streams
}

fn open(address: SocketAddr, kind: Kind, n: usize) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from = SocketAddr::from(([127, 0, 0, u8::try_from(2 + n / PER_ADDRESS).unwrap()], 0));
    socket.bind(&SockAddr::from(from))?;
    socket.connect_timeout(&SockAddr::from(address), CONNECT_TIMEOUT)?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(match kind {
        Kind::Silent => b"",
        Kind::HalfHeader => b"POST /h/abc HTTP/1.1\r\nhost",
        Kind::NoBody => b"POST /h/abc HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        Kind::Idle => b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    })?;
    Ok(stream)
}

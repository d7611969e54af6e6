//! Connections that are held open at the admin port, from few and many addresses: probes and the status are answered
//! meanwhile.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::seq::SliceRandom;

use super::{
    deliveries,
    flood::{Kind, flood},
    process::{self, Process},
    row::{Row, count},
};

/// How long a response may take. The kubelet allows a second, but this machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How often each path is requested while the connections are open.
const REPEATS: usize = 3;

/// The limits on open files of the receivers under test: few and plenty.
const FILES: [usize; 2] = [256, 4096];

#[derive(Clone, Copy, Debug)]
struct Case {
    files: usize,
    connections: usize,
    per_address: usize,
    kind: Kind,
}

#[test]
fn admin_port_is_reachable() {
    let mut row = Row::new("connections at the admin port", "admin_port_is_reachable");
    linktree_operator::open_files::raise_limit();
    let receivers = FILES.map(|files| {
        let directory = process::directory();
        process::write_route(directory.path(), &process::route(None));
        let receiver = Process::with_files(directory.path(), files, files).unwrap();
        receiver.until_ready();
        (files, receiver, directory)
    });
    let mut cases = Vec::new();
    for connections in [64, 300, 1000] {
        for per_address in [1, 8, 64, 1000] {
            for files in FILES {
                cases.extend(Kind::ALL.map(|kind| Case { files, connections, per_address, kind }));
            }
        }
    }
    cases.shuffle(&mut row.rng());
    for case in cases.into_iter().take(count(96, 6)) {
        let (_, receiver, _) = receivers.iter().find(|(files, ..)| *files == case.files).unwrap();
        for what in run(case, receiver.admin) {
            row.violated(format!("{case:?}: {what}"));
        }
        row.tried(1);
    }
    row.finish();
}

fn run(case: Case, admin: SocketAddr) -> Vec<String> {
    let mut wrong = Vec::new();
    let held = flood(admin, case.kind, case.connections, case.per_address);
    for path in ["/healthz", "/readyz", "/status", "/metrics"].repeat(REPEATS) {
        let began = Instant::now();
        let answer = deliveries::get(admin, path);
        if !answer.as_ref().is_ok_and(|(status, _)| *status == 200) || began.elapsed() > TIMEOUT {
            let status = answer.map(|(status, _)| status);
            wrong.push(format!("{path} beside {} connections: {status:?} after {:?}", held.len(), began.elapsed()));
        }
    }
    wrong
}

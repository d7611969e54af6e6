//! Sinks at forbidden addresses: every address of `tests/golden/egress.txt` in its spelling, behind a name, and behind
//! the name of a Service; and names whose address changes later. The receiver must reject each before it connects.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, TcpListener},
    path::Path,
};

use linktree_operator::route::{Route, Sink, status::ReceiverStatus};
use url::{Host, Url};

use super::{
    deliveries::{self, Connection, Delivery, until},
    process::{self, Process},
    row::Row,
};

const TABLE: &str = include_str!("../golden/egress.txt");
const REFUSED: &str = "is not an address that may be connected to";

#[test]
fn egress() {
    let mut row = Row::new("egress", "egress");
    // A connection that is not rejected arrives here.
    let listener = TcpListener::bind("[::]:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (sinks, hosts) = sinks(listener.local_addr().unwrap().port());
    let directory = process::directory();
    fs::write(directory.path().join("hosts"), &hosts).unwrap();
    process::write_route(directory.path(), &Route { sinks: sinks.clone(), ..process::route(None) });
    let receiver = Process::with_hosts(directory.path()).unwrap();
    receiver.until_ready();

    deliver(&receiver, 1);
    until("every sink was attempted", || failures(&receiver).iter().all(|(_, failure)| failure.is_some()));
    row.tried(sinks.len());
    judge(&failures(&receiver), &mut row);

    let rebound: Vec<String> =
        hosts.lines().filter_map(|line| line.split_once(' ')).map(|(_, name)| name.into()).collect();
    write_in_place(&directory.path().join("hosts"), &rebound);
    deliver(&receiver, 2);
    let is_rebound =
        |failure: &Option<String>| failure.as_deref().is_some_and(|failure| failure.contains("127.0.0.1 "));
    until("the changed names are rejected again", || {
        failures(&receiver).iter().all(|(name, failure)| !name.starts_with("name") || is_rebound(failure))
    });
    row.tried(rebound.len());
    judge(&failures(&receiver), &mut row);
    if listener.accept().is_ok() {
        row.violated("the receiver connected to a forbidden address");
    }
    row.finish();
}

/// A sink per case, and the hosts file for their names.
fn sinks(port: u16) -> (Vec<Sink>, String) {
    let (mut sinks, mut hosts, mut named) = (Vec::new(), String::new(), BTreeSet::new());
    for (kind, host) in TABLE.lines().map(|line| line.split_once(' ').unwrap()).filter(|(kind, _)| *kind != "public") {
        let url = Url::parse(&format!("http://{host}:{port}/in")).unwrap();
        let address: IpAddr = match url.host().unwrap() {
            Host::Ipv4(address) => address.into(),
            Host::Ipv6(address) => address.into(),
            Host::Domain(name) => panic!("{name} is not an address"),
        };
        sinks.push(sink(&format!("spelled-{}", sinks.len()), url));
        if !named.insert(address) {
            continue;
        }
        // A Service may have a private address.
        let domains: &[&str] = if kind == "never" { &["example", "svc"] } else { &["example"] };
        for domain in domains {
            let name = format!("name-{}.{domain}", sinks.len());
            hosts += &format!("{address} {name}\n");
            sinks
                .push(sink(&format!("name-{}", sinks.len()), Url::parse(&format!("http://{name}:{port}/in")).unwrap()));
        }
    }
    (sinks, hosts)
}

/// A sink with a retry every second, longer than the test.
fn sink(name: &str, url: Url) -> Sink {
    let mut sink = Sink::new(name, url);
    sink.retry =
        linktree_operator::route::Retry { give_up_after_seconds: 86_400, delay_seconds: 1, max_delay_seconds: 1 };
    sink
}

fn deliver(receiver: &Process, n: usize) {
    let answer = Connection::open(receiver.delivery).unwrap().deliver(&Delivery::numbered(n)).unwrap();
    assert_eq!(answer.0, 200);
}

/// The last failure of each sink.
fn failures(receiver: &Process) -> Vec<(String, Option<String>)> {
    let (_, status) = deliveries::get(receiver.admin, "/status").unwrap();
    let status: ReceiverStatus = serde_json::from_str(&status).unwrap();
    status.sinks.into_iter().map(|sink| (sink.name, sink.last_failure)).collect()
}

fn judge(failures: &[(String, Option<String>)], row: &mut Row) {
    for (name, failure) in failures {
        if !failure.as_deref().is_some_and(|failure| failure.contains(REFUSED)) {
            row.violated(format!("{name}: {failure:?}"));
        }
    }
}

/// Points all names to this machine. Writes in place, since the file is mounted.
fn write_in_place(file: &Path, names: &[String]) {
    let lines: String = names.iter().map(|name| format!("127.0.0.1 {name}\n")).collect();
    fs::write(file, lines).unwrap();
}

//! The receiver in a control group of its pod's size, whatever the bodies and the sinks.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use linktree_operator::route::Sink as RouteSink;
use rand::Rng;
use url::Url;

use super::{
    deliveries::{self, Connection, now},
    process::{Process, directory, route, write_route},
    row::{Row, count},
    sink::Sink,
};

/// The memory limit of the operator's pods.
const MIB: u64 = 256;
/// The bytes that one case sends to its sinks at most.
const BYTES: usize = 1 << 30;
/// How long the events take at most, and how long each sink that hangs may keep memory from the others: one time-out.
const DEADLINE: Duration = Duration::from_secs(120);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bodies of this size to this number of sinks, of which the last `hanging` never answer.
struct Case {
    body: usize,
    events: usize,
    sinks: usize,
    hanging: usize,
}

impl Case {
    fn sinks(&self, healthy: SocketAddr, hole: SocketAddr) -> Vec<RouteSink> {
        let sink = |n: usize| {
            let address = if n < self.sinks - self.hanging { healthy } else { hole };
            let mut sink = RouteSink::new(&format!("s{n}"), Url::parse(&format!("http://{address}/{n}")).unwrap());
            sink.retry.max_delay_seconds = 2;
            sink.timeout_seconds = TIMEOUT.as_secs() as u32;
            sink
        };
        (0..self.sinks).map(sink).collect()
    }

    /// Returns what is wrong.
    fn run(&self, seed: u64) -> Result<(), String> {
        let directory = directory();
        let healthy = Sink::start();
        let hole = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut route = route(None);
        route.max_body_bytes = 16 << 20;
        route.sinks = self.sinks(healthy.address, hole.local_addr().unwrap());
        write_route(directory.path(), &route);
        let group = Group::new();
        let process = group.start(directory.path())?;
        process.until_ready();
        let mut connection = Connection::open(process.delivery).map_err(|error| error.to_string())?;
        for n in 0..self.events {
            let title = "x".repeat(self.body);
            let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"{seed}-{n}","title":"{title}"}}}}"#);
            let sent = connection.send(&deliveries::request(&format!("d{n}"), now(), body.as_bytes()));
            let answer = sent.and_then(|()| connection.answer()).map_err(|error| format!("event {n}: {error}"))?;
            if answer.0 != 200 {
                return Err(format!("event {n} was answered {answer:?}"));
            }
        }
        let expected = self.events * (self.sinks - self.hanging);
        let deadline = DEADLINE + TIMEOUT * self.hanging as u32;
        let started = Instant::now();
        while healthy.taken().values().sum::<u32>() < expected as u32 {
            if started.elapsed() > deadline || !process.ready() {
                let taken: u32 = healthy.taken().values().sum();
                return Err(format!("{taken} of {expected} events arrived, ready: {}", process.ready()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// A control group with the memory limit of the operator's pods.
struct Group(PathBuf);

impl Group {
    fn new() -> Self {
        let version_1 = Path::new("/sys/fs/cgroup/memory");
        let root = if version_1.exists() { version_1 } else { Path::new("/sys/fs/cgroup") };
        let group = root.join(format!("chaos-memory-{}", std::process::id()));
        fs::create_dir(&group).expect("cannot create a control group, which needs root");
        let file = if version_1.exists() { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(group.join(file), (MIB << 20).to_string()).unwrap();
        Group(group)
    }

    /// Starts a receiver in the group, which it sees as a container does.
    fn start(&self, directory: &Path) -> Result<Process, String> {
        let root = self.0.parent().unwrap();
        let enter = "echo $$ > \"$1/cgroup.procs\"; mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-euc", enter, "sh"]).arg(&self.0).arg(root);
        Process::within(&mut command, directory)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn memory_stays_within_the_pods_limit() {
    let mut row = Row::new("memory", "memory_stays_within_the_pods_limit");
    let mut rng = row.rng();
    let sizes = [200, 64 << 10, 250 << 10, 1 << 20, 8 << 20];
    for case in 0..count(30, 3) {
        let body = sizes[(case * 2 + 2) % sizes.len()];
        let sinks = [16, 1, 4, 36][case % 4];
        let hanging = if case % 2 == 0 { 0 } else { rng.random_range(0..sinks) };
        let events = (BYTES / body / sinks).clamp(4, 64);
        let problem = Case { body, events, sinks, hanging }.run(rng.random());
        row.tried(1);
        if let Err(problem) = problem {
            row.violated(format!("{events} × {body} bytes, {sinks} sinks, {hanging} of them hang: {problem}"));
        }
    }
    row.finish();
}

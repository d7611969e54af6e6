//! HTTP abuse on raw sockets: every case has a verdict in `tests/golden/http_abuse.txt`, and must satisfy the RFCs
//! where they are definite. `UPDATE_GOLDEN=1` rewrites the file, which must be reviewed before a commit.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    deliveries::{Connection, Delivery},
    http_cases::{self, Case, Must},
    process::{self, Process},
    row::{Row, full},
};

/// Sent after every case: its 404 shows that the connection is in sync.
const SENTINEL: &[u8] = b"GET /sentinel HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const AT_ONCE: usize = 24;

#[test]
fn http_abuse() {
    let mut row = Row::new("HTTP abuse on raw sockets", "http_abuse");
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    let receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    let cases: Vec<Case> = http_cases::all().into_iter().filter(|case| full() || !case.is_slow()).collect();
    let verdicts = verdicts(receiver.delivery, &cases);
    row.tried(cases.len());
    for (case, verdict) in cases.iter().zip(&verdicts) {
        let accepted = verdict.contains("200");
        match case.must {
            Must::Accept if !accepted => row.violated(format!("{}: must be accepted, was {verdict}", case.name)),
            Must::Reject if accepted => row.violated(format!("{}: must be rejected, was {verdict}", case.name)),
            Must::Accept | Must::Reject | Must::Choose => {}
        }
    }
    assert!(Connection::open(receiver.delivery).unwrap().deliver(&Delivery::numbered(1_000_000)).unwrap().0 == 200);
    drop(receiver);
    check_stored(directory.path(), &mut row);
    compare(&cases, &verdicts, &mut row);
    row.finish();
}

/// Checks that no request hidden in another one is stored.
fn check_stored(directory: &Path, row: &mut Row) {
    let database = rusqlite::Connection::open(directory.join("volume/journal/journal.sqlite")).unwrap();
    let mut statement = database.prepare("SELECT name FROM events WHERE name LIKE 'smuggled%'").unwrap();
    let smuggled: HashSet<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for name in smuggled {
        row.violated(format!("{name} was stored"));
    }
}

fn compare(cases: &[Case], verdicts: &[String], row: &mut Row) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/http_abuse.txt");
    let found: Vec<String> =
        cases.iter().zip(verdicts).map(|(case, verdict)| format!("{} => {verdict}", case.name)).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        assert!(full(), "only a full run has all verdicts: set CHAOS=full");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, found.join("\n") + "\n").unwrap();
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    let golden: HashSet<&str> = text.lines().collect();
    for found in found.iter().filter(|found| !golden.contains(found.as_str())) {
        row.violated(format!("not in the golden file: {found}"));
    }
    if golden.len() != http_cases::all().len() {
        row.violated("the golden file has another number of cases");
    }
}

fn verdicts(address: SocketAddr, cases: &[Case]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let mut found: Vec<(usize, String)> = thread::scope(|scope| {
        let work = || {
            let mut mine = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(case) = cases.get(n) else { return mine };
                mine.push((n, verdict(address, &case.bytes)));
            }
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    found.sort();
    found.into_iter().map(|(_, verdict)| verdict).collect()
}

/// The statuses of all responses to a case, including the sentinel's, until the connection ends.
fn verdict(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    // The receiver may close the connection before it has read everything.
    let _ = stream.write_all(&[bytes, SENTINEL].concat());
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    let end = loop {
        match stream.read(&mut piece) {
            Ok(0) => break "",
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break "",
            Err(_) => break " open",
        }
    };
    let text = String::from_utf8_lossy(&answer);
    let statuses: Vec<&str> = text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12)).collect();
    format!("{}{end}", if statuses.is_empty() { "closed".to_owned() } else { statuses.join(" ") })
}

/// Endless headers time out, and other connections are served meanwhile.
#[test]
fn slowloris() {
    let mut row = Row::new("slowloris", "slowloris");
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    let receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    let (slow, duration) = if full() { (400, Duration::from_secs(60)) } else { (50, Duration::ZERO) };
    let mut streams: Vec<TcpStream> = (0..slow).map(|_| TcpStream::connect(receiver.delivery).unwrap()).collect();
    let start = Instant::now();
    for stream in &mut streams {
        stream.write_all(b"POST /h/abc HTTP/1.1\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    let mut n = 0;
    loop {
        let served = Connection::open(receiver.delivery).and_then(|mut new| new.deliver(&Delivery::numbered(n)));
        if !matches!(served, Ok((200, _))) {
            row.violated(format!("with {} slow connections: {served:?}", streams.len()));
        }
        n += 1;
        streams.retain_mut(|stream| stream.write_all(b"x").is_ok() && !matches!(stream.read(&mut [0; 512]), Ok(0)));
        if streams.is_empty() || start.elapsed() >= duration {
            break;
        }
        thread::sleep(Duration::from_millis(500));
    }
    row.tried(slow);
    if full() && !streams.is_empty() {
        row.violated(format!("{} slow connections never timed out", streams.len()));
    }
    row.finish();
}

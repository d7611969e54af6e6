//! Deliveries and their connections: blocking sockets, so that a test knows exactly which responses arrived.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use linktree_operator::{
    linktree::{
        headers::{DeliveryId, SentAt},
        secret::Secret,
        signature::Signature,
    },
    receiver::ingest::event::Event,
};

pub const PATH: &str = "/h/abc";
pub const SECRET: &str = "s3cret";
const DEADLINE: Duration = Duration::from_secs(20);

/// Seconds since the epoch.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A delivery, signed at its creation.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: String,
    pub body: String,
    pub sent_at: i64,
}

impl Delivery {
    /// The n-th of many.
    pub fn numbered(n: usize) -> Self {
        let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"l{n}","title":"{n:0200}"}}}}"#);
        Delivery { id: format!("d{n}"), body, sent_at: now() }
    }

    /// The event for the journal.
    pub fn event(&self) -> Event {
        let (sent_at, signature) = self.signed();
        let id = DeliveryId::parse(self.id.as_bytes());
        Event::new(id.as_ref(), &signature, &sent_at, "k1", self.body.clone().into_bytes().into(), now())
    }

    /// The request's bytes.
    pub fn request(&self) -> Vec<u8> {
        request(&self.id, self.sent_at, self.body.as_bytes())
    }

    fn signed(&self) -> (SentAt, Signature) {
        signed(self.sent_at, self.body.as_bytes())
    }
}

/// The bytes of a request with this body, which may be of any bytes.
pub fn request(id: &str, sent_at: i64, body: &[u8]) -> Vec<u8> {
    let (sent_at, signature) = signed(sent_at, body);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nx-linktree-signature: {}\r\nx-linktree-timestamp: {}\r\n\
         x-linktree-delivery-id: {id}\r\ncontent-length: {}\r\n\r\n",
        signature.to_hex(),
        sent_at.as_str(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn signed(sent_at: i64, body: &[u8]) -> (SentAt, Signature) {
    let sent_at = SentAt::from_seconds(sent_at).unwrap();
    let signature = Signature::sign(&Secret::new(SECRET), &sent_at, body);
    (sent_at, signature)
}

/// A status and a body.
pub type Answer = (u16, String);

/// One connection.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// The receiver's port and ours, which identify the connection in a trace.
    pub ports: (u16, u16),
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        let ports = (address.port(), stream.local_addr()?.port());
        Ok(Connection { stream, read: Vec::new(), ports })
    }

    pub fn deliver(&mut self, delivery: &Delivery) -> io::Result<Answer> {
        self.send(&delivery.request())?;
        self.answer()
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the next response; an error if the connection ends before it is complete.
    pub fn answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some((answer, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Ok(answer);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.read.extend_from_slice(&piece[..length]),
            }
        }
    }
}

/// The first response in `bytes` and its length. Interim responses are skipped.
fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let status: u16 = text.split(' ').nth(1)?.parse().ok()?;
    if status == 100 {
        return parse(&bytes[head..]).map(|(answer, length)| (answer, head + length));
    }
    let length = text.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    let end = head + length.unwrap_or(0usize);
    let body = bytes.get(head..end)?;
    Some(((status, String::from_utf8_lossy(body).into_owned()), end))
}

/// Sends a GET request with the admin token.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut connection = Connection::open(address)?;
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t0ken\r\n\r\n").as_bytes())?;
    connection.answer()
}

/// Sends a POST request with the admin token and this JSON.
pub fn post(address: SocketAddr, path: &str, json: &serde_json::Value) -> io::Result<Answer> {
    let (mut connection, body) = (Connection::open(address)?, json.to_string());
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t0ken\r\ncontent-length: {}", body.len());
    connection.send(format!("{head}\r\n\r\n{body}").as_bytes())?;
    connection.answer()
}

/// The JSON of a page of the admin port; null without a response.
pub fn page(address: SocketAddr, path: &str) -> serde_json::Value {
    let answer = get(address, path).map(|(_, body)| body);
    answer.ok().and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default()
}

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(in_time(condition), "timed out waiting until {what}");
}

/// Waits until `condition` holds; false at the deadline.
pub fn in_time(mut condition: impl FnMut() -> bool) -> bool {
    let start = std::time::Instant::now();
    while !condition() {
        if start.elapsed() >= DEADLINE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

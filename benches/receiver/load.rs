//! Sends requests and takes times, on one thread that does nothing else. Closed loop: every connection sends its next
//! request when it has its answer. Open loop: requests are due at a constant rate, whether or not earlier ones were
//! answered, and their time counts from when they were due: a server that stalls cannot hide it (coordinated omission).

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{request::Requests, support::benchmark_report::quantile};

/// How many connections come from one address: servers limit that.
const PER_ADDRESS: usize = 256;
/// How long answers may still take once nothing more is sent.
const DRAIN: Duration = Duration::from_secs(12);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    /// Requests per second; `None` for a closed loop.
    pub(crate) rate: Option<f64>,
}

/// One answer: to which request, when that was due and when it was sent, the status, and when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) request: usize,
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    pub(crate) status: u16,
    pub(crate) at: Instant,
}

/// All answers, and the time from the first request to the last answer.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) all: Vec<Answer>,
    pub(crate) took: Duration,
    /// Requests that were due but found no free connection before the end.
    pub(crate) unsent: usize,
}

impl Answers {
    pub(crate) fn count(&self, status: u16) -> usize {
        self.all.iter().filter(|answer| answer.status == status).count()
    }

    /// Answers with `status` per second.
    pub(crate) fn rate(&self, status: u16) -> f64 {
        self.count(status) as f64 / self.took.as_secs_f64()
    }

    /// The time within which `share` of the answers with `status` came after their request was due, in milliseconds.
    pub(crate) fn milliseconds(&self, status: u16, share: f64) -> f64 {
        let answers = self.all.iter().filter(|answer| answer.status == status);
        quantile(answers.map(|answer| answer.at.duration_since(answer.due)).collect(), share)
    }

    /// The same from when it was sent: what a sender beyond its own limit of connections sees of the server.
    pub(crate) fn waited(&self, status: u16, share: f64) -> f64 {
        let answers = self.all.iter().filter(|answer| answer.status == status);
        quantile(answers.map(|answer| answer.at.duration_since(answer.sent)).collect(), share)
    }
}

struct Connection {
    stream: TcpStream,
    /// The request whose answer it waits for: which, when it was due, when it was sent.
    busy: Option<(usize, Instant, Instant)>,
    unsent: Vec<u8>,
    answer: Vec<u8>,
}

/// Sends `requests` in their order to `server`. Ends early when they are used up.
pub(crate) fn send(server: SocketAddr, load: Load, requests: &Requests) -> Result<Answers> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut connections = connect(&poll, server, load.connections)?;
    let mut idle: Vec<usize> = (0..connections.len()).rev().collect();
    let (mut next, mut all) = (0, Vec::with_capacity(requests.len()));
    let began = Instant::now();
    let end = began + load.duration;
    loop {
        let now = Instant::now();
        // How many requests are due by now, and since when request `next` is.
        let due = match load.rate {
            None if now < end => requests.len(),
            None => next,
            Some(rate) => requests.len().min((now.min(end).duration_since(began).as_secs_f64() * rate) as usize),
        };
        while next < due && now < end {
            let Some(token) = idle.pop() else { break };
            let since = load.rate.map_or(now, |rate| began + Duration::from_secs_f64(next as f64 / rate));
            connections[token].start(next, requests, (since, now))?;
            next += 1;
        }
        let over = now >= end || next >= requests.len();
        if over && (idle.len() == connections.len() || now > end + DRAIN) {
            let answered = all.iter().map(|answer: &Answer| answer.at).max().unwrap_or(now);
            return Ok(Answers { all, took: answered.duration_since(began), unsent: due.saturating_sub(next) });
        }
        // In an open loop it never sleeps past the moment at which a request is due.
        let wait = if load.rate.is_some() && !over { Duration::ZERO } else { Duration::from_millis(5) };
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        let now = Instant::now();
        for event in &events {
            let token = event.token().0;
            if let Some(status) = connections[token].proceed()?
                && let Some((request, due, sent)) = connections[token].busy.take()
            {
                all.push(Answer { request, due, sent, status, at: now });
                idle.push(token);
            }
        }
    }
}

fn connect(poll: &Poll, server: SocketAddr, count: usize) -> Result<Vec<Connection>> {
    (0..count)
        .map(|index| {
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + u8::try_from(index / PER_ADDRESS)?));
            let socket = socket(from)?;
            socket.connect(&server.into()).with_context(|| format!("connection {index} to {server}"))?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            let mut stream = TcpStream::from_std(socket.into());
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            Ok(Connection { stream, busy: None, unsent: Vec::new(), answer: Vec::with_capacity(1024) })
        })
        .collect()
}

fn socket(from: IpAddr) -> Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    Ok(socket)
}

impl Connection {
    fn start(&mut self, number: usize, requests: &Requests, (due, sent): (Instant, Instant)) -> Result<()> {
        self.busy = Some((number, due, sent));
        self.unsent.extend_from_slice(requests.bytes(number));
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the server closed a connection"),
            }
        }
        Ok(())
    }

    /// Goes on with what the connection was at. Returns the answer's status once it is whole.
    fn proceed(&mut self) -> Result<Option<u16>> {
        self.write()?;
        let mut piece = [0; 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(read) => self.answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let status = whole(&self.answer)?;
        if status.is_some() {
            self.answer.clear();
        }
        Ok(status)
    }
}

/// The status of an answer that is there to its last byte.
fn whole(answer: &[u8]) -> Result<Option<u16>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(body) = head.parse(answer)? else { return Ok(None) };
    let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize =
        length.map_or(Ok(0), |field| std::str::from_utf8(field.value)?.parse().map_err(anyhow::Error::from))?;
    ensure!(answer.len() <= body + length, "an answer is longer than it says");
    Ok(head.code.filter(|_| answer.len() == body + length))
}

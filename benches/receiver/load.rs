//! Load generator on a dedicated thread. Closed loop: every connection sends its next request after its response. Open
//! loop: requests are due at a constant rate, regardless of earlier responses, and latency is measured from the due
//! time, so that a stalled server cannot hide it (coordinated omission).

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{request::Requests, support::benchmark_report::quantile};

/// Connections per source address, which servers limit.
const PER_ADDRESS: usize = 256;
/// The time to wait for responses after the last request.
const DRAIN: Duration = Duration::from_secs(12);

/// The load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    /// Requests per second; `None` for a closed loop.
    pub(crate) rate: Option<f64>,
}

/// One response: the request's number, due time and send time, the status, and the arrival time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) request: usize,
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    pub(crate) status: u16,
    pub(crate) at: Instant,
}

/// All responses, and the time from the first request to the last response.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) all: Vec<Answer>,
    pub(crate) took: Duration,
    /// Due requests without a free connection before the end.
    pub(crate) unsent: usize,
}

impl Answers {
    pub(crate) fn count(&self, status: u16) -> usize {
        self.all.iter().filter(|answer| answer.status == status).count()
    }

    /// Responses with `status` per second.
    pub(crate) fn rate(&self, status: u16) -> f64 {
        self.count(status) as f64 / self.took.as_secs_f64()
    }

    /// The quantile `share` of the latency of responses with `status`, from the due time, in milliseconds.
    pub(crate) fn milliseconds(&self, status: u16, share: f64) -> f64 {
        let answers = self.all.iter().filter(|answer| answer.status == status);
        quantile(answers.map(|answer| answer.at.duration_since(answer.due)).collect(), share)
    }

    /// The same from the send time: the server's latency as seen by a sender at its connection limit.
    pub(crate) fn waited(&self, status: u16, share: f64) -> f64 {
        let answers = self.all.iter().filter(|answer| answer.status == status);
        quantile(answers.map(|answer| answer.at.duration_since(answer.sent)).collect(), share)
    }
}

struct Connection {
    stream: TcpStream,
    /// The pending request: number, due time, send time.
    busy: Option<(usize, Instant, Instant)>,
    unsent: Vec<u8>,
    answer: Vec<u8>,
}

/// Sends `requests` in order to `server`. Stops early when they are used up.
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
        // The number of due requests, and the due time of request `next`.
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
        // An open loop never sleeps past the due time of a request.
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

    /// Continues to write or read. Returns the status once the response is complete.
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

/// The status of a complete response.
fn whole(answer: &[u8]) -> Result<Option<u16>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(body) = head.parse(answer)? else { return Ok(None) };
    let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize =
        length.map_or(Ok(0), |field| std::str::from_utf8(field.value)?.parse().map_err(anyhow::Error::from))?;
    ensure!(answer.len() <= body + length, "a response is longer than its content-length");
    Ok(head.code.filter(|_| answer.len() == body + length))
}

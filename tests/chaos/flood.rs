//! Many connections that do little, and stay open.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);
/// Consecutive connections that were not accepted, after which more are pointless.
const REJECTED_MAX: usize = 5;

/// What the connections do.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Silent,
    /// A request without its end.
    HalfHeader,
    /// A header without its body.
    NoBody,
    /// An answered request on a connection that stays open.
    Idle,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Silent, Kind::HalfHeader, Kind::NoBody, Kind::Idle];
}

/// Opens `count` connections, or as many as are accepted, `per_address` from each address.
pub fn flood(address: SocketAddr, kind: Kind, count: usize, per_address: usize) -> Vec<TcpStream> {
    let (mut streams, mut rejected) = (Vec::new(), 0);
    for n in 0..count {
        match open(address, kind, n / per_address) {
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

fn open(address: SocketAddr, kind: Kind, client: usize) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from =
        SocketAddr::from(([127, 0, u8::try_from(client / 200).unwrap(), u8::try_from(2 + client % 200).unwrap()], 0));
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

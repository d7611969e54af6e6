//! HTTP/2 floods that are cheap for the sender and cost the receiver a request each: streams reset at once, streams
//! that the receiver must reset, and endless headers. The receiver must close the connection after little work, and
//! serve others meanwhile.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::{
    deliveries::{self, Connection, Delivery},
    process::{self, Process},
    row::{Row, count},
};

const DEADLINE: Duration = Duration::from_secs(20);
/// Streams in one flood.
const STREAMS: u32 = 4000;
/// The maximum number of answered requests before the connection is closed: concurrent streams, tolerated resets, and a
/// margin for streams answered before their reset was read.
const ANSWERED: u64 = 200;

/// The kind of flood.
#[derive(Clone, Copy, Debug)]
enum Flood {
    Reset,
    MadeReset,
    EndlessHeaders,
}

#[test]
fn rapid_reset() {
    let mut row = Row::new("HTTP/2 rapid reset", "rapid_reset");
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    let receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    assert_eq!(deliveries::get(receiver.delivery, "/").unwrap().0, 404);
    assert_eq!(answered(&receiver), 1, "the metric must count answered requests");
    let mut other = Connection::open(receiver.delivery).unwrap();
    for n in 0..count(300, 12) {
        let flood = [Flood::Reset, Flood::MadeReset, Flood::EndlessHeaders][n % 3];
        let before = answered(&receiver);
        let mut stream = TcpStream::connect(receiver.delivery).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        // The connection may be closed during the flood.
        let _ = stream.write_all(&frames(flood));
        let served = other.deliver(&Delivery::numbered(n));
        if !matches!(served, Ok((200, _))) {
            row.violated(format!("{flood:?} {n}: another delivery: {served:?}"));
        }
        if let Err(error) = stream.read_to_end(&mut Vec::new())
            && error.kind() == std::io::ErrorKind::WouldBlock
        {
            row.violated(format!("{flood:?} {n}: the connection was not closed"));
        }
        let answered = answered(&receiver) - before;
        if answered > ANSWERED {
            row.violated(format!("{flood:?} {n}: {answered} of its requests were answered"));
        }
        row.tried(1);
    }
    row.finish();
}

/// The number of answered requests that were no delivery.
fn answered(receiver: &Process) -> u64 {
    let (_, metrics) = deliveries::get(receiver.admin, "/metrics").unwrap();
    let count =
        metrics.lines().find_map(|line| line.strip_prefix("linktree_receiver_requests_total{verdict=\"not_found\"} "));
    count.map_or(0, |count| count.parse().unwrap())
}

fn frames(flood: Flood) -> Vec<u8> {
    let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
    // GET / of host x, with indexes of the static table.
    let get = [0x82, 0x84, 0x86, 0x41, 0x01, b'x'];
    match flood {
        Flood::Reset => {
            for stream in (1..2 * STREAMS).step_by(2) {
                bytes.extend(frame(1, 0x5, stream, &get));
                bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
            }
        }
        Flood::MadeReset => {
            for stream in (1..2 * STREAMS).step_by(2) {
                bytes.extend(frame(1, 0x4, stream, &get));
                // A window update of 0 is a stream error (RFC 9113, section 6.9).
                bytes.extend(frame(8, 0, stream, &[0; 4]));
            }
        }
        Flood::EndlessHeaders => {
            bytes.extend(frame(1, 0, 1, &get));
            // A header of one byte, never indexed, repeatedly.
            let more = [0x00, 0x01, b'a', 0x01, b'b'].repeat(200);
            (0..STREAMS).for_each(|_| bytes.extend(frame(9, 0, 1, &more)));
        }
    }
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

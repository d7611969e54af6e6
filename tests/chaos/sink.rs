//! A sink that records the ids of events.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

/// A sink for the lifetime of the process. It accepts everything, or answers with another status.
#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    taken: Arc<Mutex<HashMap<String, u32>>>,
    status: Arc<AtomicU16>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink =
            Sink { address: listener.local_addr().unwrap(), taken: Arc::default(), status: Arc::new(204.into()) };
        let here = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sink = here.clone();
                std::thread::spawn(move || sink.serve(stream));
            }
        });
        sink
    }

    /// Answers with `status` from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// The count of each accepted id.
    pub fn taken(&self) -> HashMap<String, u32> {
        self.taken.lock().unwrap().clone()
    }

    /// Serves requests until the connection ends, possibly within one.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut answers = stream.try_clone().ok()?;
        let mut requests = BufReader::new(stream);
        loop {
            let (mut id, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if requests.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    if line.trim().is_empty() {
                        break;
                    }
                    continue;
                };
                match name.to_ascii_lowercase().as_str() {
                    "ce-id" => id = value.to_owned(),
                    "content-length" => length = value.parse().ok()?,
                    _ => {}
                }
            }
            requests.read_exact(&mut vec![0; length]).ok()?;
            let status = self.status.load(Ordering::Relaxed);
            if status == 204 {
                *self.taken.lock().unwrap().entry(id).or_default() += 1;
            }
            let length = if status == 204 { "" } else { "content-length: 0\r\n" };
            answers.write_all(format!("HTTP/1.1 {status} Status\r\n{length}\r\n").as_bytes()).ok()?;
        }
    }
}

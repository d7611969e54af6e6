//! A sink that records the ids of events.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// A sink that accepts everything, for the lifetime of the process.
#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    taken: Arc<Mutex<HashMap<String, u32>>>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Sink { address: listener.local_addr().unwrap(), taken: Arc::default() };
        let here = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sink = here.clone();
                std::thread::spawn(move || sink.serve(stream));
            }
        });
        sink
    }

    /// The count of each id.
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
            *self.taken.lock().unwrap().entry(id).or_default() += 1;
            answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
        }
    }
}

//! Sinks that a test switches on and off, each with its own path at one recorder.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use linktree_operator::route::{Retry, Sink};
use url::Url;

use super::recorder::{Recorder, Step};

/// Sinks by name; each answers 503 while it is down.
pub struct SwitchedSinks {
    recorder: Recorder,
    down: Arc<Mutex<HashSet<String>>>,
}

impl SwitchedSinks {
    pub fn start() -> Self {
        let down: Arc<Mutex<HashSet<String>>> = Arc::default();
        let switches = Arc::clone(&down);
        let recorder = Recorder::start(move |request| {
            let is_down = switches.lock().unwrap().contains(&request.path[1..]);
            let status: &[u8] = if is_down { b"503 Service Unavailable" } else { b"200 OK" };
            vec![Step::Send([b"HTTP/1.1 ", status, b"\r\ncontent-length: 0\r\n\r\n"].concat())]
        });
        SwitchedSinks { recorder, down }
    }

    pub fn switch(&self, name: &str, up: bool) {
        let mut down = self.down.lock().unwrap();
        if up {
            down.remove(name);
        } else {
            down.insert(name.to_owned());
        }
    }

    /// The route's sink of this name, with short delays.
    pub fn sink(&self, name: &str) -> Sink {
        let url = Url::parse(&format!("http://{}/{name}", self.recorder.address)).unwrap();
        let mut sink = Sink::new(name, url);
        sink.retry = Retry { delay_seconds: 1, max_delay_seconds: 1, ..sink.retry };
        sink
    }

    /// How often the sink `name` was sent each event, while it was up or down.
    pub fn sent(&self, name: &str) -> HashMap<String, u32> {
        let mut sent = HashMap::new();
        for request in self.recorder.requests() {
            if request.path[1..] == *name
                && let Some(id) = request.header("ce-id")
            {
                *sent.entry(id.to_owned()).or_default() += 1;
            }
        }
        sent
    }

    /// How many of its requests were marked as sent again.
    pub fn replayed(&self, name: &str) -> usize {
        let requests = self.recorder.requests();
        let of_sink = requests.iter().filter(|request| request.path[1..] == *name);
        of_sink.filter(|request| request.header("ce-replayed") == Some("true")).count()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.recorder.clear();
    }
}

//! A sink that records its requests and answers them as a test decides, down to single bytes and pauses.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    Close,
}

/// A sink, for the lifetime of the process.
#[derive(Clone)]
pub struct Recorder {
    /// On every address of this machine.
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Recorder {
    pub fn start(answer: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = ([127, 0, 0, 1], listener.local_addr().unwrap().port()).into();
        let recorder = Recorder { address, requests: Arc::default() };
        let (here, answer) = (recorder.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (recorder, answer) = (here.clone(), Arc::clone(&answer));
                thread::spawn(move || recorder.serve(stream, answer.as_ref()));
            }
        });
        recorder
    }

    /// A sink that accepts everything.
    pub fn healthy() -> Self {
        Recorder::start(|_| vec![Step::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())])
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.requests.lock().unwrap().clear();
    }

    /// Serves requests until the connection ends.
    fn serve(&self, stream: TcpStream, answer: &impl Fn(&Request) -> Vec<Step>) -> Option<()> {
        let mut answers = stream.try_clone().ok()?;
        let mut requests = BufReader::new(stream);
        loop {
            let request = read(&mut requests)?;
            let steps = answer(&request);
            self.requests.lock().unwrap().push(request);
            for step in steps {
                match step {
                    Step::Send(bytes) => answers.write_all(&bytes).ok()?,
                    Step::Wait(duration) => thread::sleep(duration),
                    Step::Close => return None,
                }
            }
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        let length = stream.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut request = Request { path, headers, body: Vec::new() };
    request.body = vec![0; request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

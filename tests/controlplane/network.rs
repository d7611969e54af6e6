//! The network between operator and registered URLs: a forward proxy in place of DNS, load balancer and Service. The
//! operator uses it as HTTP_PROXY.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::Url;

/// The behaviour of a host.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A receiver.
    At(SocketAddr),
    /// Closes every connection.
    Closed,
    /// Answers every request with this response.
    Answers(&'static str),
}

/// The proxy. Stopped on drop. An unknown host is [`Destination::Closed`].
pub struct Network {
    pub address: SocketAddr,
    destinations: Arc<Mutex<HashMap<String, Destination>>>,
    task: JoinHandle<()>,
}

impl Network {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let destinations: Arc<Mutex<HashMap<String, Destination>>> = Arc::default();
        let known = Arc::clone(&destinations);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let destinations = Arc::clone(&known);
                // The client sees a broken connection as well.
                tokio::spawn(async move { serve(stream, &destinations).await.unwrap_or_default() });
            }
        });
        Network { address, destinations, task }
    }

    /// Routes requests for `host` to `destination`.
    pub fn route(&self, host: &str, destination: Destination) {
        self.destinations.lock().unwrap().insert(host.to_owned(), destination);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Handles CONNECT, for HTTPS. An unreachable host behaves like a closed port.
async fn tunnel(
    mut stream: TcpStream,
    host: &str,
    destinations: &Mutex<HashMap<String, Destination>>,
) -> std::io::Result<()> {
    let destination = destinations.lock().unwrap().get(host).cloned();
    match destination.unwrap_or(Destination::Closed) {
        Destination::Closed | Destination::Answers(_) => Ok(()),
        Destination::At(address) => {
            let mut edge = TcpStream::connect(address).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            copy_bidirectional(&mut stream, &mut edge).await.map(drop)
        }
    }
}

async fn serve(mut stream: TcpStream, destinations: &Mutex<HashMap<String, Destination>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    if let Some(host) = text.strip_prefix("CONNECT ").and_then(|rest| Some(rest.split_once(':')?.0)) {
        return tunnel(stream, host, destinations).await;
    }
    // `POST http://host/path HTTP/1.1`, the absolute form of a request to a proxy.
    let Some((method, target)) = text.split_once(' ').and_then(|(method, rest)| Some((method, rest.split_once(' ')?)))
    else {
        return Ok(());
    };
    let Ok(url) = Url::parse(target.0) else { return Ok(()) };
    let destination = destinations.lock().unwrap().get(url.host_str().unwrap_or_default()).cloned();
    match destination.unwrap_or(Destination::Closed) {
        Destination::Closed => Ok(()),
        Destination::Answers(answer) => stream.write_all(answer.as_bytes()).await,
        Destination::At(address) => {
            let mut receiver = TcpStream::connect(address).await?;
            let request = format!("{method} {} {}", url.path(), target.1);
            receiver.write_all(request.as_bytes()).await?;
            copy_bidirectional(&mut stream, &mut receiver).await.map(drop)
        }
    }
}

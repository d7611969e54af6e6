//! Servers of this program, each in its own process: the receiver as shipped, the receiver with a journal that stores
//! nothing, which shows the cost of durability, and a bare hyper as the lower bound.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use linktree_operator::{
    receiver::{
        self,
        config::Config,
        ingest::{event::Event, handler::Handler, limits},
        journal::{
            Appended, Backlog, Due, Journal, JournalError, Pending, Position, Settings, Settlement,
            position::Arrivals,
            query::{DueQuery, Probe},
        },
        stats::{counters::DeliveryStats, metrics::Metrics},
    },
    route::{Route, status::JournalHealth},
    serve, shutdown,
    telemetry::{self, LogFormat},
};
use tokio::{net::TcpListener, sync::watch};

/// Runs the server `name` on `address` until SIGTERM. The journal is next to the route file.
pub(crate) fn serve(name: &str, address: &str, route_file: &Path) -> Result<()> {
    telemetry::init(LogFormat::Text)?;
    // Installation fails only if there is a provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // One thread per available core, as in the receiver.
    tokio::runtime::Runtime::new()?.block_on(async {
        match name {
            "receiver" => shipped(address.parse()?, route_file).await,
            "forgetful" => forgetful(TcpListener::bind(address).await?, route_file).await,
            "bare" => bare(TcpListener::bind(address).await?).await,
            _ => bail!("unknown server {name}"),
        }
    })
}

/// The receiver of `linktree-operator receiver`.
async fn shipped(delivery_address: SocketAddr, route_file: &Path) -> Result<()> {
    let args = receiver::Args {
        route_file: route_file.to_owned(),
        journal: route_file.with_file_name("journal"),
        delivery_address,
        admin_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        tls_directory: None,
        ca_file: None,
        egress_allow: vec!["127.0.0.0/8".parse()?],
    };
    Ok(receiver::run(args, shutdown::on_signal()?).await?)
}

/// Answers 200 without reading the request.
async fn bare(listener: TcpListener) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let (stream, _) = accepted?;
        stream.set_nodelay(true)?;
        let answer = service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
    Ok(())
}

/// The receiver's own path from the socket to the journal, and back.
async fn forgetful(listener: TcpListener, route_file: &Path) -> Result<()> {
    let config = Config::new(Route::load(route_file)?, String::new())?;
    let (_publish, config) = watch::channel(Some(Arc::new(config)));
    let stats = DeliveryStats::new(Metrics::register(&mut Default::default()));
    let handler = Handler::new(config, Arc::new(Forgetful), Arc::new(stats));
    let answer = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.answer(request).await) }
    });
    let shutdown = shutdown::on_signal()?;
    serve::serve(listener, serve::Transport::Tcp, answer, limits::LIMITS, |_| {}, shutdown).await;
    Ok(())
}

/// A journal that confirms every event without storing it.
struct Forgetful;

#[async_trait]
impl Journal for Forgetful {
    async fn append(&self, _: Event) -> Result<Appended, JournalError> {
        Ok(Appended::Stored)
    }

    async fn configure(&self, _: Settings) -> Result<(), JournalError> {
        Ok(())
    }

    async fn due(&self, _: &str, _: DueQuery) -> Result<Due, JournalError> {
        Ok(Due::default())
    }

    async fn probe(&self, _: &str, _: Probe, _: usize) -> Result<Option<Pending>, JournalError> {
        Ok(None)
    }

    async fn waiting(&self, _: &str, _: Position, _: usize) -> Result<Vec<(Pending, i64)>, JournalError> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: &str, _: Vec<Settlement>) -> Result<(), JournalError> {
        Ok(())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, JournalError> {
        Ok(Vec::new())
    }

    fn health(&self) -> JournalHealth {
        JournalHealth::Healthy
    }

    fn appended(&self) -> watch::Receiver<Arrivals> {
        watch::channel(Arrivals::default()).1
    }

    async fn close(&self) -> Result<(), JournalError> {
        Ok(())
    }
}

//! The measured servers: the receiver as shipped, the receiver without a journal, and the peers. Each starts empty, in
//! its own directory.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use linktree_operator::{
    linktree::secret::Secret,
    route::{self, Key, Route, Sink, StaleDeliveryPolicy, WebhookName},
};

use crate::{
    log_size,
    request::SECRET,
    server::{Server, free_address},
};

/// The path of deliveries: the page's, and qhook's for the source `linktree`.
pub(crate) const PATH: &str = "/webhooks/linktree";

/// The receiver, with a journal in `directory`.
pub(crate) fn receiver(directory: &Path, sinks: &[(&str, SocketAddr)]) -> Result<Server> {
    let sinks = sinks.iter().map(|(name, address)| Ok(Sink::new(name, format!("http://{address}/").parse()?)));
    receiver_with(directory, sinks.collect::<Result<_>>()?)
}

/// The receiver with these sinks.
pub(crate) fn receiver_with(directory: &Path, sinks: Vec<Sink>) -> Result<Server> {
    let server = start("receiver", directory, sinks, "401")?;
    log_size::sample(directory);
    Ok(server)
}

/// The receiver with a journal that stores nothing.
pub(crate) fn forgetful(directory: &Path) -> Result<Server> {
    start("forgetful", directory, Vec::new(), "401")
}

/// A bare hyper.
pub(crate) fn bare(directory: &Path) -> Result<Server> {
    start("bare", directory, Vec::new(), "200")
}

/// A server of this program, see [`crate::inside`].
fn start(name: &str, directory: &Path, sinks: Vec<Sink>, ready: &str) -> Result<Server> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", name, &address.to_string()]).arg(route_file(directory, sinks)?);
    command.env("RUST_LOG", "error");
    Server::start(command, address, PATH, &[ready])
}

/// The page's handler on Express, with its packages installed from the lock file.
pub(crate) fn express(modules: &Path) -> Result<Server> {
    let address = free_address()?;
    let mut command = Command::new("node");
    command.arg(modules.join("server.js"));
    command.env("PORT", address.port().to_string()).env("LINKTREE_WEBHOOK_SECRET", SECRET);
    command.env("NODE_ENV", "production");
    Server::start(command, address, PATH, &["401"])
}

/// qhook with SQLite, forwarding to `sink`.
pub(crate) fn qhook(program: &Path, directory: &Path, sink: SocketAddr) -> Result<Server> {
    let address = free_address()?;
    let config = format!(
        "database:\n  driver: sqlite\n  url: sqlite://{}/qhook.db?mode=rwc\n\
         server:\n  port: {}\n  max_inbound: 4096\n  allow_private_urls: true\n\
         sources:\n  linktree:\n    type: webhook\n    verify: hmac\n    secret: {SECRET}\n\
         handlers:\n  sink:\n    source: linktree\n    events: [\"*\"]\n    url: http://{sink}/\n    idempotency_key: $.data.link_id\n",
        directory.display(),
        address.port()
    );
    fs::write(directory.join("qhook.yaml"), config)?;
    let mut command = Command::new(program);
    command.args(["start", "--config"]).arg(directory.join("qhook.yaml"));
    command.current_dir(directory).env("RUST_LOG", "error");
    Server::start(command, address, PATH, &["400"])
}

fn route_file(directory: &Path, sinks: Vec<Sink>) -> Result<PathBuf> {
    let route = Route {
        version: route::VERSION,
        webhook: WebhookName { namespace: "bench".to_owned(), name: "bench".to_owned() },
        path: PATH.to_owned(),
        admin_token: Secret::new("an-admin-token-for-benchmarks-only"),
        probe_key: Secret::new("a-probe-key-for-benchmarks-only"),
        keys: vec![Key { name: "k1".to_owned(), secret: Secret::new(SECRET) }],
        timestamp_tolerance_seconds: 300,
        stale_delivery_policy: StaleDeliveryPolicy::Reject,
        deduplication_window_seconds: 604_800,
        retention_seconds: 604_800,
        dead_letter_retention_seconds: 2_592_000,
        capacity_bytes: 64 << 30,
        max_body_bytes: 262_144,
        redact_fields: ["ip_address", "user_agent", "referrer_url", "geo_city"].map(str::to_owned).into(),
        sinks,
        forwarding: route::Forwarding::On,
    };
    let file = directory.join(route::FILE);
    fs::write(&file, route.render()?)?;
    Ok(file)
}

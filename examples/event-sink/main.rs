//! The smallest useful sink: takes CloudEvents in binary mode on port 8080 and prints each as one line,
//! `time type id body`. It is what the quickstart delivers to, and a start for a sink of your own. It keeps nothing
//! and checks no credentials.

use std::io::{self, Write};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::{net::TcpListener, signal::unix};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:8080").await?;
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    axum::serve(listener, Router::new().route("/", post(print)))
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
}

/// Only a 2xx tells the receiver that the event is ours now: anything else, and it comes again. So it is printed first.
async fn print(headers: HeaderMap, Json(body): Json<serde_json::Value>) -> Result<StatusCode, (StatusCode, String)> {
    let attribute = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    let line = format!("{} {} {} {body}", attribute("ce-time"), attribute("ce-type"), attribute("ce-id"));
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

//! A minimal sink: accepts CloudEvents in binary mode on port 8080 and prints each as one line, `time type id body`.
//! The quickstart delivers to it, and you can start your own sink from it. It stores nothing and checks no credentials.

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

/// Prints an event, then answers 204. Answers 422 to a link with an empty title, as an example of an event that a sink
/// cannot use: the receiver tries it three times, and then makes it a dead letter.
async fn print(headers: HeaderMap, Json(body): Json<serde_json::Value>) -> Result<StatusCode, (StatusCode, String)> {
    if body["data"]["title"] == "" {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "the link has no title\n".to_owned()));
    }
    let attribute = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    let line = format!("{} {} {} {body}", attribute("ce-time"), attribute("ce-type"), attribute("ce-id"));
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}

//! Runs the candidate on a thread and a runtime of its own, with its own connection to the API server, so that the lease
//! is renewed however busy the operator's runtime is.

use kube::Config;
use tokio::{runtime::Builder, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    leadership::{Leadership, Term},
    run::{Args, Candidate, Lost},
};
use crate::operator::kubernetes::client;

/// The candidate of this process, on its own thread.
#[derive(Debug)]
pub struct CandidateThread {
    stop: CancellationToken,
    /// The end of the thread; an error if it has lost the leadership or panicked.
    ended: oneshot::Receiver<Result<(), Lost>>,
}

/// Error of starting the thread.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Client(#[from] kube::Error),
    #[error("no thread can be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl CandidateThread {
    /// The leadership of a process with these arguments: without an election, it always leads.
    #[must_use]
    pub fn leadership(args: &Args) -> Leadership {
        if args.is_enabled() { Leadership::starting(Term::NotYet) } else { Leadership::unopposed() }
    }

    /// Starts the candidate of this process, whose election grants and withdraws this `leadership`; `None` if
    /// `--leader-elect` is off.
    ///
    /// # Errors
    /// When `config` cannot be used, or no thread can be started.
    pub fn start(args: &Args, config: &Config, leadership: &Leadership) -> Result<Option<Self>, StartError> {
        if !args.is_enabled() {
            return Ok(None);
        }
        let (stop, builder) = (CancellationToken::new(), client::builder(config)?);
        let (end, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (args, granted, stopped) = (args.clone(), leadership.clone(), stop.clone());
        let run = async move {
            // Built here, since the client's own task runs on the runtime that builds it.
            let Some(mut candidate) = Candidate::new(&args, builder.build(), granted) else { return Ok(()) };
            tokio::select! {
                lost = candidate.run() => match lost? {},
                () = stopped.cancelled() => {}
            }
            candidate.release().await;
            Ok(())
        };
        // If the receiver is gone, the process exits already.
        std::thread::Builder::new().name("election".to_owned()).spawn(move || {
            let _ = end.send(runtime.block_on(run));
        })?;
        Ok(Some(CandidateThread { stop, ended }))
    }

    /// Waits until the leadership is lost.
    pub async fn lost(&mut self) -> Lost {
        // The thread ends without an error only after `release`.
        let _ = (&mut self.ended).await;
        Lost
    }

    /// Releases the lease, if this process holds it, and ends the thread.
    pub async fn release(self) {
        self.stop.cancel();
        let _ = self.ended.await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc},
        time::Duration,
    };

    use axum::{
        Json, Router,
        http::StatusCode,
        routing::{get, post},
    };
    use serde_json::{Value, json};

    use super::*;

    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases";

    /// Serves one Lease on another thread, and sends the holder of each write.
    fn serve(writes: mpsc::Sender<String>) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stored: Arc<Mutex<Option<Value>>> = Arc::default();
        let write = {
            let stored = Arc::clone(&stored);
            move |Json(mut lease): Json<Value>| async move {
                lease["metadata"]["resourceVersion"] = "1".into();
                let _ = writes.send(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned());
                *stored.lock().unwrap() = Some(lease.clone());
                Json(lease)
            }
        };
        let read = move || async move {
            stored.lock().unwrap().clone().map(Json).ok_or_else(|| {
                let status = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"});
                (StatusCode::NOT_FOUND, Json(status))
            })
        };
        let router =
            Router::new().route(LEASES, post(write.clone())).route(&format!("{LEASES}/operator"), get(read).put(write));
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
            });
        });
        format!("http://{address}")
    }

    #[test]
    fn a_busy_runtime_does_not_cost_the_lease() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (writes, written) = mpsc::channel();
        let config = Config::new(serve(writes).parse().unwrap());
        let args = Args {
            leader_elect: true,
            lease_namespace: Some("ops".into()),
            lease_name: "operator".into(),
            identity: Some("us".into()),
        };
        let busy = Builder::new_current_thread().enable_all().build().unwrap();
        busy.block_on(async {
            let leadership = CandidateThread::leadership(&args);
            let candidate = CandidateThread::start(&args, &config, &leadership).unwrap().unwrap();
            // This blocks the runtime's only thread until the lease was acquired and renewed twice.
            for _ in 0..3 {
                assert_eq!(written.recv_timeout(Duration::from_secs(30)).unwrap(), "us");
            }
            assert_eq!(leadership.check(), Ok(()));
            candidate.release().await;
            assert_eq!(written.recv_timeout(Duration::from_secs(30)).unwrap(), "", "it was released");
        });
    }
}

//! The reading connection and its thread: reads never wait for writes, and writes never wait for reads.

use std::{
    sync::mpsc::{self, SyncSender},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::restart::{Readers, Restarts};
use crate::receiver::journal::JournalError;

/// The limit of queued reads; there is one per sink, and the occasional status request.
const QUEUE_CAPACITY: usize = 256;

/// How often an interrupted query runs again, and how long it waits for the end of the restart that it held up.
const RERUNS: u32 = 5;
const RESTART_TIMEOUT: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The queue of the reader thread, which ends when this is dropped.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    jobs: SyncSender<Job>,
    restarts: Restarts,
}

impl Reader {
    /// Starts the thread. Also returns its queries for the writer to interrupt.
    pub(super) fn start(connection: Connection) -> std::io::Result<(Self, Readers)> {
        let restarts = Restarts::default();
        let readers = Readers { queries: connection.get_interrupt_handle(), restarts: restarts.clone() };
        let (jobs, waiting) = mpsc::sync_channel::<Job>(QUEUE_CAPACITY);
        thread::Builder::new().name("journal-reader".into()).spawn(move || {
            for job in waiting {
                job(&connection);
            }
        })?;
        Ok((Reader { jobs, restarts }, readers))
    }

    /// Runs `query` on the reading connection; again if it was interrupted because its snapshot held up a restart of the
    /// log, once that has ended.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let restarts = self.restarts.clone();
        let job: Job = Box::new(move |connection| {
            let mut result = query(connection);
            for _ in 0..RERUNS {
                if !result.as_ref().is_err_and(interrupted) {
                    break;
                }
                restarts.wait(RESTART_TIMEOUT);
                result = query(connection);
            }
            // The caller may have gone; then the answer is dropped.
            let _ = answer.send(result);
        });
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => JournalError::Overloaded,
            mpsc::TrySendError::Disconnected(_) => JournalError::Closed,
        })?;
        Ok(answered.await.map_err(|_| JournalError::Closed)??)
    }
}

fn interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

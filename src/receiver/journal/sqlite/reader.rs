//! The reading connection and its thread: reads never wait for writes, and writes never wait for reads.

use std::{
    sync::mpsc::{self, SyncSender},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use crate::receiver::journal::JournalError;

/// The limit of queued reads; there is one per sink, and the occasional status request.
const QUEUE_CAPACITY: usize = 256;

/// The delay before an interrupted query runs again: the log restarts meanwhile.
const RERUN_DELAY: Duration = Duration::from_millis(10);

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The queue of the reader thread, which ends when this is dropped.
#[derive(Clone, Debug)]
pub(super) struct Reader(SyncSender<Job>);

impl Reader {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel::<Job>(QUEUE_CAPACITY);
        thread::Builder::new().name("journal-reader".into()).spawn(move || {
            for job in waiting {
                job(&connection);
            }
        })?;
        Ok(Reader(jobs))
    }

    /// Runs `query` on the reading connection; once more if it was interrupted because its snapshot held the log.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let mut result = query(connection);
            if result.as_ref().is_err_and(interrupted) {
                thread::sleep(RERUN_DELAY);
                result = query(connection);
            }
            // The caller may have gone; then the answer is dropped.
            let _ = answer.send(result);
        });
        self.0.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => JournalError::Overloaded,
            mpsc::TrySendError::Disconnected(_) => JournalError::Closed,
        })?;
        Ok(answered.await.map_err(|_| JournalError::Closed)??)
    }
}

fn interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

//! The operations of the journal for one sink, as futures that own what they need.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use super::{
    engine::{Operation, Search},
    queue::Lane,
};
use crate::receiver::journal::{
    Due, Journal, JournalError, Pending,
    query::{DueQuery, Probe},
};

/// The operations for one sink.
pub(super) struct Operations {
    pub(super) sink: String,
    pub(super) journal: Arc<dyn Journal>,
}

/// The result of an [`Operation`], with its parameters.
pub(super) enum Answer {
    Read(Lane, DueQuery, Result<Due, JournalError>),
    Selected(Probe, Search, Result<Option<Pending>, JournalError>),
    Recorded(Result<(), JournalError>),
}

impl Operations {
    pub(super) fn begin(&self, operation: Operation) -> BoxFuture<'static, Answer> {
        let (journal, sink) = (Arc::clone(&self.journal), self.sink.clone());
        let answer = async move {
            match operation {
                Operation::Read(lane, query) => Answer::Read(lane, query, journal.due(&sink, query).await),
                Operation::Probe(probe, search) => {
                    Answer::Selected(probe, search, journal.probe(&sink, probe, search.max_bytes).await)
                }
                Operation::Record(outcomes) => Answer::Recorded(journal.settle(&sink, outcomes).await),
            }
        };
        answer.boxed()
    }
}

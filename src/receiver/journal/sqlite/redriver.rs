//! The requests to send events again: counts their events over the reading connection, and has the writer accept them.

use async_trait::async_trait;

use super::{SqliteJournal, queue::Work, redrive};
use crate::{
    receiver::journal::{
        JournalError, Position,
        redrive::{Matched, Redrive, Redriver, Source},
    },
    route::redrive::RedriveProgress,
};

#[async_trait]
impl Redriver for SqliteJournal {
    async fn matched(&self, source: Source) -> Result<Matched, JournalError> {
        let (from, to) = match source {
            Source::DeadLetters { sink } => {
                return self.reader.read(move |connection| redrive::dead_letters(connection, &sink)).await;
            }
            Source::Received { from, to } => (from, to),
        };
        let (mut matched, mut after) = (Matched::default(), 0);
        // In parts, because other readers wait meanwhile.
        while let Some((found, end)) =
            self.reader.read(move |connection| redrive::received(connection, after, from, to)).await?
        {
            if found.count > 0 {
                let first = if matched.count == 0 { found.first } else { matched.first };
                matched = Matched { count: matched.count + found.count, first, last: found.last };
            }
            after = end;
        }
        Ok(matched)
    }

    async fn exists(&self, position: Position) -> Result<bool, JournalError> {
        self.reader.read(move |connection| redrive::exists(connection, position)).await
    }

    async fn find_delivery(&self, id: &str) -> Result<Option<Position>, JournalError> {
        let (mut newest, mut after) = (None, 0);
        loop {
            let id = id.to_owned();
            let found = self.reader.read(move |connection| redrive::named(connection, after, &id)).await?;
            let Some((found, end)) = found else { return Ok(newest) };
            newest = found.or(newest);
            after = end;
        }
    }

    async fn accepted(&self, id: &str) -> Result<Option<u64>, JournalError> {
        let id = id.to_owned();
        self.reader.read(move |connection| redrive::matched(connection, &id)).await
    }

    async fn redrive(&self, redrive: Redrive) -> Result<Option<u64>, JournalError> {
        let id = redrive.id.clone();
        self.write(Work::Redrive(redrive)).await?;
        self.accepted(&id).await
    }

    async fn redrives(&self) -> Result<Vec<RedriveProgress>, JournalError> {
        self.reader.read(redrive::progress).await
    }
}

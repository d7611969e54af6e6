//! Reads a body within bounds: its size, its time, and what all bodies together take up. BodyBudget is taken as bytes arrive,
//! not as they are announced: who only announces much keeps nobody out.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::verdict::Verdict;

/// From the end of the header to the end of the body.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much all bodies being held may take up, in KiB: memory stays flat whatever comes in at once.
const BUDGET_KIB: usize = 32 * 1024;

/// The room for all bodies.
#[derive(Debug)]
pub(super) struct BodyBudget(Semaphore);

/// A body, and the room it takes up until it is dropped.
#[derive(Debug)]
pub(super) struct BodyPermit<'a> {
    pub(super) bytes: Bytes,
    pub(super) permit: SemaphorePermit<'a>,
}

impl Default for BodyBudget {
    fn default() -> Self {
        BodyBudget(Semaphore::new(BUDGET_KIB))
    }
}

impl BodyBudget {
    /// Reads a body of at most `limit` bytes.
    ///
    /// # Errors
    /// The verdict on a body that is too large, too late or incomplete, or that there is no room for.
    pub(super) async fn read(&self, body: Incoming, limit: u64) -> Result<BodyPermit<'_>, Verdict> {
        if body.size_hint().lower() > limit {
            return Err(Verdict::TooLarge);
        }
        let held = BodyPermit { bytes: Bytes::new(), permit: self.take(1)? };
        timeout(TIMEOUT, self.fill(held, body, limit)).await.unwrap_or(Err(Verdict::BodyTimeout))
    }

    async fn fill<'a>(
        &'a self,
        mut held: BodyPermit<'a>,
        mut body: Incoming,
        limit: u64,
    ) -> Result<BodyPermit<'a>, Verdict> {
        // A frame is part of the connection's buffer, which is larger and is wanted for the next request.
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Verdict::BodyBroken)?;
            // Trailers say nothing that is signed.
            let Ok(data) = frame.into_data() else { continue };
            let length = whole.len() + data.len();
            if length as u64 > limit {
                return Err(Verdict::TooLarge);
            }
            let kib = length / 1024 + 1;
            if kib > held.permit.num_permits() {
                held.permit.merge(self.take(kib - held.permit.num_permits())?);
            }
            whole.extend_from_slice(&data);
        }
        held.bytes = whole.freeze();
        Ok(held)
    }

    fn take(&self, kib: usize) -> Result<SemaphorePermit<'_>, Verdict> {
        let kib = u32::try_from(kib).map_err(|_| Verdict::Overloaded)?;
        self.0.try_acquire_many(kib).map_err(|_| Verdict::Overloaded)
    }
}

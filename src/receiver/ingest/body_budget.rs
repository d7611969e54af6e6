//! Reads a body within limits of size, time and the memory of all bodies together. Memory is reserved as bytes arrive,
//! not by `Content-Length`: a request that only announces a large body takes nothing from others.

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
/// The memory limit for all bodies in flight, in KiB.
const BUDGET_KIB: usize = 32 * 1024;

/// The memory budget for all bodies.
#[derive(Debug)]
pub(super) struct BodyBudget(Semaphore);

/// A body and its share of the budget, which dropping it releases.
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
    /// The verdict on a body that is too large, late or incomplete, or that exceeds the budget.
    pub(super) async fn read(&self, body: &mut Incoming, limit: u64) -> Result<BodyPermit<'_>, Verdict> {
        if body.size_hint().lower() > limit {
            return Err(Verdict::TooLarge);
        }
        let held = BodyPermit { bytes: Bytes::new(), permit: self.take(1)? };
        timeout(TIMEOUT, self.fill(held, body, limit)).await.unwrap_or(Err(Verdict::BodyTimeout))
    }

    async fn fill<'a>(
        &'a self,
        mut held: BodyPermit<'a>,
        body: &mut Incoming,
        limit: u64,
    ) -> Result<BodyPermit<'a>, Verdict> {
        // A frame shares the connection's buffer, which is larger and which the next request needs.
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Verdict::BodyBroken)?;
            // Trailers are not signed.
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

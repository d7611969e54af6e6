//! The management API, as the operator calls it: the [`Linktree`] trait and its implementation over HTTP
//! ([`HttpLinktree`]).
//!
//! A client makes exactly one request per call: it neither retries nor waits for a request budget. Whoever calls it
//! decides about both, with the [`ApiError`] and [`Linktree::remaining_requests`].

use std::collections::HashSet;

use async_trait::async_trait;

use super::{
    error::ApiError,
    secret::Secret,
    wire::{Account, CreateSubscription, Subscription, SubscriptionId, UpdateSubscription},
};

mod answer;
mod http;

pub(crate) use self::http::root_cause;
pub use self::http::{DEADLINE, Exchange, HttpLinktree, PAGE_LIMIT, Transport, Unusable};

/// No account has more pages than this: 200 pages of 100. Longer lists are an error, not an endless loop.
pub const PAGES_MAX: usize = 200;

/// The calls this project makes to Linktree. One call is one HTTP request against the budget.
#[async_trait]
pub trait Linktree: Send + Sync {
    /// `GET /v1/me`: whose token this is.
    async fn account(&self) -> Result<Account, ApiError>;
    /// One page of `GET /v1/webhooks` from `cursor`, with the cursor of the next page if there is one.
    async fn list_page(&self, cursor: Option<&str>) -> Result<(Vec<Subscription>, Option<String>), ApiError>;
    async fn get(&self, id: &SubscriptionId) -> Result<Subscription, ApiError>;
    /// Registers a subscription. An answer of 2xx without an id is [`ApiError::Unreadable`]: it may have taken effect.
    async fn create(&self, request: &CreateSubscription) -> Result<Subscription, ApiError>;
    async fn update(&self, id: &SubscriptionId, change: &UpdateSubscription) -> Result<Subscription, ApiError>;
    /// Deletes a subscription. [`ApiError::NotFound`] says that there is none, which callers take as done; an answer of 2xx
    /// that is neither empty nor JSON, such as a sign-in page, is [`ApiError::Unreadable`].
    async fn delete(&self, id: &SubscriptionId) -> Result<(), ApiError>;
    /// A new signing secret; the old one stops being used at once.
    async fn rotate_secret(&self, id: &SubscriptionId) -> Result<Secret, ApiError>;
    /// What the newest answer said of the requests left in this window (`X-RateLimit-Remaining`); `None` as long as no
    /// answer said so.
    fn remaining_requests(&self) -> Option<u32>;
}

/// Every subscription of the account, each id once, in the order of the pages.
///
/// # Errors
/// Those of [`Linktree::list_page`]; and [`ApiError::Unreadable`] when a cursor comes back a second time or there are
/// more than [`PAGES_MAX`] pages. A part of the list is never returned: what is missing from it would look deleted.
pub async fn list_all(linktree: &dyn Linktree) -> Result<Vec<Subscription>, ApiError> {
    let mut seen_ids = HashSet::new();
    let mut seen_cursors = HashSet::new();
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let (page, next) = linktree.list_page(cursor.as_deref()).await?;
        all.extend(page.into_iter().filter(|subscription| seen_ids.insert(subscription.id.clone())));
        let Some(next) = next else { return Ok(all) };
        if !seen_cursors.insert(next.clone()) {
            return Err(ApiError::Unreadable { problem: "the list of webhooks repeats a cursor".to_owned() });
        }
        cursor = Some(next);
    }
    Err(ApiError::Unreadable { problem: format!("the list of webhooks has more than {PAGES_MAX} pages") })
}

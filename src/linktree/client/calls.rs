//! The calls to Linktree's management API, and listing all pages of an account.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::linktree::{
    error::ApiError,
    secret::Secret,
    wire::{Account, CreateSubscription, Subscription, SubscriptionId, UpdateSubscription},
};

/// Pages of the longest list that is read: 1,000 of 100 subscriptions. A longer list is an error, not an endless loop.
pub const PAGES_MAX: usize = 1_000;

/// The calls to Linktree. Each is one HTTP request that counts against the token's request budget.
#[async_trait]
pub trait Linktree: Send + Sync {
    /// `GET /v1/me`: the account of the token.
    async fn account(&self) -> Result<Account, ApiError>;
    /// One page of `GET /v1/webhooks` from `cursor`, with the cursor of the next page if there is one.
    async fn list_page(&self, cursor: Option<&str>) -> Result<(Vec<Subscription>, Option<String>), ApiError>;
    async fn get(&self, id: &SubscriptionId) -> Result<Subscription, ApiError>;
    /// Registers a subscription. A 2xx response without an id is [`ApiError::Unreadable`]: the call may have taken
    /// effect.
    async fn create(&self, request: &CreateSubscription) -> Result<Subscription, ApiError>;
    async fn update(&self, id: &SubscriptionId, change: &UpdateSubscription) -> Result<Subscription, ApiError>;
    /// Deletes a subscription. Callers take [`ApiError::NotFound`] as success; a 2xx response that is neither empty nor
    /// JSON, such as a sign-in page, is [`ApiError::Unreadable`].
    async fn delete(&self, id: &SubscriptionId) -> Result<(), ApiError>;
    /// Replaces the signing secret; Linktree stops using the old one at once.
    async fn rotate_secret(&self, id: &SubscriptionId) -> Result<Secret, ApiError>;
    /// The names of the response fields that were not understood so far and counted as absent.
    fn unclear_fields(&self) -> Vec<&'static str> {
        Vec::new()
    }
    /// The requests left in the rate limit window according to the last response with `X-RateLimit-Remaining`; `None`
    /// if there was no such response since the last call: an old value says nothing about now.
    fn take_remaining_requests(&self) -> Option<u32>;
}

/// The pages of a list that has begun. It goes on where it stopped, even if that takes longer than an hour's requests.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    subscriptions: Vec<Subscription>,
    ids: HashSet<SubscriptionId>,
    cursors: HashSet<String>,
    cursor: Option<String>,
}

impl Pages {
    /// The cursor of the page to read next; `None` for the first.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Adds a page and the cursor of the next one. Returns all subscriptions of the account, each id once, in the order
    /// of the pages, if it is the last.
    ///
    /// # Errors
    /// [`ApiError::Unreadable`] when a cursor repeats or there are more than [`PAGES_MAX`] pages. A partial list is
    /// never returned: subscriptions missing from it would count as deleted.
    pub fn add(
        &mut self,
        page: Vec<Subscription>,
        next: Option<String>,
    ) -> Result<Option<Vec<Subscription>>, ApiError> {
        let ids = &mut self.ids;
        self.subscriptions.extend(page.into_iter().filter(|subscription| ids.insert(subscription.id.clone())));
        let Some(next) = next else { return Ok(Some(std::mem::take(self).subscriptions)) };
        if !self.cursors.insert(next.clone()) {
            return Err(ApiError::Unreadable { problem: "the list of webhooks repeats a cursor".to_owned() });
        }
        if self.cursors.len() >= PAGES_MAX {
            return Err(ApiError::Unreadable {
                problem: format!("the list of webhooks has more than {PAGES_MAX} pages"),
            });
        }
        self.cursor = Some(next);
        Ok(None)
    }
}

/// Lists every subscription of the account, each id once, in the order of the pages.
///
/// # Errors
/// Those of [`Linktree::list_page`] and [`Pages::add`].
pub async fn list_all(linktree: &dyn Linktree) -> Result<Vec<Subscription>, ApiError> {
    let mut pages = Pages::default();
    loop {
        let (page, next) = linktree.list_page(pages.cursor()).await?;
        if let Some(all) = pages.add(page, next)? {
            return Ok(all);
        }
    }
}

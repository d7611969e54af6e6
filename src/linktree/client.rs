//! The management API over HTTP.

use async_trait::async_trait;

use super::{
    error::ApiError,
    secret::Secret,
    wire::{Account, CreateSubscription, Subscription, SubscriptionId, UpdateSubscription},
};

/// The calls this project makes to Linktree. One call is one HTTP request against the budget, but for
/// [`Linktree::list`], which is one per page.
#[async_trait]
pub trait Linktree: Send + Sync {
    /// `GET /v1/me`: whose token this is.
    async fn account(&self) -> Result<Account, ApiError>;
    /// One page of `GET /v1/webhooks` from `cursor`, with the cursor of the next page if there is one.
    async fn list_page(&self, cursor: Option<&str>) -> Result<(Vec<Subscription>, Option<String>), ApiError>;
    async fn get(&self, id: &SubscriptionId) -> Result<Subscription, ApiError>;
    async fn create(&self, request: &CreateSubscription) -> Result<Subscription, ApiError>;
    async fn update(&self, id: &SubscriptionId, change: &UpdateSubscription) -> Result<Subscription, ApiError>;
    async fn delete(&self, id: &SubscriptionId) -> Result<(), ApiError>;
    async fn rotate_secret(&self, id: &SubscriptionId) -> Result<Secret, ApiError>;
}

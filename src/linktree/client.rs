//! A client of the management API: the [`Linktree`] trait and its implementation over HTTP ([`HttpLinktree`]).
//!
//! A client makes exactly one request per call: it neither retries nor waits for a request budget. Its caller decides
//! on both, with the [`ApiError`](super::error::ApiError) and [`Linktree::take_remaining_requests`].

mod answer;
mod calls;
mod fields;
mod http;

pub(crate) use self::http::root_cause;
pub use self::{
    calls::{Linktree, PAGES_MAX, Pages, list_all},
    http::{DEADLINE, Exchange, HttpLinktree, PAGE_LIMIT, Transport, Unusable},
};

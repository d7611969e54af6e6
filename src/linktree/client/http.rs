//! [`HttpLinktree`], the only code that sends requests to Linktree. It must not retry, follow redirects or log.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Method, Request, Response,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::Serialize;
use url::Url;

use super::{
    answer::{self, Target},
    calls::Linktree,
    fields::{self, Unclear},
};
use crate::{
    clock,
    egress::outbound::{Outbound, OutboundClient},
    linktree::{
        error::ApiError,
        secret::Secret,
        wire::{Account, CreateSubscription, Subscription, SubscriptionId, UpdateSubscription},
    },
};

/// Maximum time for one call, from resolving the name to the last byte of the response.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// Maximum time to establish a connection. It is shorter than [`DEADLINE`], to distinguish an unreachable host, where
/// the call cannot have taken effect, from a slow one.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// The largest response that is read, in bytes. A page of 100 subscriptions has about 50 KiB.
const ANSWER_MAX: usize = 1024 * 1024;
/// Subscriptions requested per page. Assumed: that Linktree allows this number.
pub const PAGE_LIMIT: usize = 100;

/// Why a client cannot be created.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unusable {
    #[error("the token contains characters that are invalid in a header")]
    Token,
    #[error("the base URL must be an http or https URL without a user, query or fragment")]
    BaseUrl,
    #[error("cannot configure TLS (are CA certificates installed?): {problem}")]
    Tls { problem: String },
}

/// Sends one request to Linktree and reads the response.
#[async_trait]
pub trait Exchange: Send + Sync {
    /// Returns a response once its status has arrived, even if its body is incomplete.
    ///
    /// # Errors
    /// [`ApiError::Unreachable`]. The caller sets the deadline.
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Result<Bytes, ApiError>>, ApiError>;
}

/// The connection pool that all clients share. It follows no redirect, which would send the token to another host.
#[derive(Clone)]
pub struct Transport(Arc<dyn Exchange>);

impl Transport {
    /// A transport with these settings that may also connect to loopback addresses: a base URL may be that of a simulator
    /// on this machine.
    ///
    /// # Errors
    /// [`Unusable::Tls`] if TLS cannot be configured on this machine.
    pub fn new(outbound: Outbound) -> Result<Self, Unusable> {
        let builder = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(CONNECT_DEADLINE)
                .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        };
        Outbound { egress: outbound.egress.with_loopback(), ..outbound }
            .client(builder)
            .map(|client| Transport(Arc::new(Pool(client))))
            .map_err(|error| Unusable::Tls { problem: root_cause(error) })
    }

    /// A transport over `exchange` instead of a connection pool.
    #[must_use]
    pub fn over(exchange: Arc<dyn Exchange>) -> Self {
        Transport(exchange)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// The connection pool of all clients.
struct Pool(OutboundClient);

#[async_trait]
impl Exchange for Pool {
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Result<Bytes, ApiError>>, ApiError> {
        let request: reqwest::Request = request.try_into().map_err(unreachable)?;
        let client = self.0.of(request.url());
        let client =
            client.map_err(|denied| ApiError::Unreachable { problem: denied.to_string(), before_sending: true })?;
        let mut response = client.execute(request).await.map_err(unreachable)?;
        let body = read_bounded(&mut response).await;
        let mut answer = Response::new(body);
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok(answer)
    }
}

/// [`Linktree`] over HTTP, for one token.
pub struct HttpLinktree {
    transport: Transport,
    base: Url,
    token: Secret,
    authorization: HeaderValue,
    deadline: Duration,
    /// The last value of `X-RateLimit-Remaining` that was not taken yet, or else a negative number.
    remaining: AtomicI64,
    unclear: Unclear,
}

impl HttpLinktree {
    /// A client for `{base}/v1/…`. White space around the token is trimmed: Secrets created from files contain it.
    ///
    /// # Errors
    /// [`Unusable::Token`] and [`Unusable::BaseUrl`]; nothing is sent yet.
    pub fn new(transport: &Transport, base: Url, token: &Secret, deadline: Duration) -> Result<Self, Unusable> {
        let plain = base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !plain || !matches!(base.scheme(), "http" | "https") {
            return Err(Unusable::BaseUrl);
        }
        let token = Secret::new(token.expose().trim());
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| Unusable::Token)?;
        authorization.set_sensitive(true);
        Ok(HttpLinktree {
            transport: transport.clone(),
            base,
            token,
            authorization,
            deadline,
            remaining: AtomicI64::new(-1),
            unclear: Unclear::default(),
        })
    }

    /// `{base}/v1/{segments}`, each segment percent-encoded.
    fn url(&self, segments: &[&str]) -> Result<Url, ApiError> {
        let mut url = self.base.clone();
        // `new` accepts only `http` and `https` URLs, and these always have path segments.
        let mut path = url.path_segments_mut().map_err(|()| ApiError::NotFound)?;
        path.pop_if_empty().push("v1").extend(segments);
        drop(path);
        Ok(url)
    }

    /// The URL of one subscription. For an id that cannot be a path segment it returns [`ApiError::NotFound`]: `DELETE
    /// {base}/v1/webhooks/..` would be a call on the collection.
    fn subscription_url(&self, id: &SubscriptionId, below: &[&str]) -> Result<Url, ApiError> {
        if matches!(id.0.as_str(), "" | "." | "..") {
            return Err(ApiError::NotFound);
        }
        self.url(&[&["webhooks", &id.0], below].concat())
    }

    /// Sends one request and reads its whole response before the deadline; returns the body if the status is 2xx.
    async fn call(
        &self,
        target: Target,
        method: Method,
        url: Url,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Bytes, ApiError> {
        let mut request =
            Request::builder().method(method).uri(url.as_str()).header(AUTHORIZATION, &self.authorization);
        let mut bytes = Bytes::new();
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json");
            bytes = serde_json::to_vec(body).map_err(|_| unsendable("the body is not JSON"))?.into();
        }
        let request = request.body(bytes).map_err(|_| unsendable("the URL is invalid in a request"))?;
        let timed_out = |_| ApiError::TimedOut { after: self.deadline };
        let answer = tokio::time::timeout(self.deadline, self.transport.0.exchange(request)).await;
        self.read(target, answer.map_err(timed_out)??)
    }

    fn read(&self, target: Target, answer: Response<Result<Bytes, ApiError>>) -> Result<Bytes, ApiError> {
        let (head, body) = answer.into_parts();
        if let Some(left) = answer::remaining(&head.headers) {
            self.remaining.store(i64::from(left), Ordering::Relaxed);
        }
        if head.status.is_success() {
            return body;
        }
        // The status decides on the error; the body only adds a message.
        let body = body.unwrap_or_default();
        Err(answer::failure(target, head.status, &head.headers, &body, &self.token, clock::now()))
    }
}

#[async_trait]
impl Linktree for HttpLinktree {
    async fn account(&self) -> Result<Account, ApiError> {
        let url = self.url(&["me"])?;
        let body = answer::json(&self.call(Target::Collection, Method::GET, url, NO_BODY).await?)?;
        fields::account(&body, &self.unclear).ok_or_else(answer::not_offered)
    }

    async fn list_page(&self, cursor: Option<&str>) -> Result<(Vec<Subscription>, Option<String>), ApiError> {
        let mut url = self.url(&["webhooks"])?;
        let limit = PAGE_LIMIT.to_string();
        url.query_pairs_mut().append_pair("limit", &limit).extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        let body = answer::json(&self.call(Target::Collection, Method::GET, url, NO_BODY).await?)?;
        fields::page(&body, &self.unclear).ok_or_else(answer::not_offered)
    }

    async fn get(&self, id: &SubscriptionId) -> Result<Subscription, ApiError> {
        let url = self.subscription_url(id, &[])?;
        let body = answer::json(&self.call(Target::Subscription, Method::GET, url, NO_BODY).await?)?;
        Ok(fields::subscription_of(id, &body, &self.unclear))
    }

    async fn create(&self, request: &CreateSubscription) -> Result<Subscription, ApiError> {
        let url = self.url(&["webhooks"])?;
        let body = answer::json(&self.call(Target::Collection, Method::POST, url, Some(request)).await?)?;
        fields::subscription(&body, &self.unclear).ok_or_else(answer::unexpected)
    }

    async fn update(&self, id: &SubscriptionId, change: &UpdateSubscription) -> Result<Subscription, ApiError> {
        let url = self.subscription_url(id, &[])?;
        let body = answer::json_or_empty(&self.call(Target::Subscription, Method::PATCH, url, Some(change)).await?)?;
        Ok(fields::subscription_of(id, &body, &self.unclear))
    }

    async fn delete(&self, id: &SubscriptionId) -> Result<(), ApiError> {
        let url = self.subscription_url(id, &[])?;
        answer::read_any(&self.call(Target::Subscription, Method::DELETE, url, NO_BODY).await?)
    }

    async fn rotate_secret(&self, id: &SubscriptionId) -> Result<Secret, ApiError> {
        let url = self.subscription_url(id, &["rotate-secret"])?;
        let body = answer::json(&self.call(Target::Subscription, Method::POST, url, NO_BODY).await?)?;
        fields::rotated_secret(&body, &self.unclear).ok_or_else(answer::not_offered)
    }

    fn take_remaining_requests(&self) -> Option<u32> {
        u32::try_from(self.remaining.swap(-1, Ordering::Relaxed)).ok()
    }

    fn unclear_fields(&self) -> Vec<&'static str> {
        self.unclear.fields()
    }
}

impl fmt::Debug for HttpLinktree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpLinktree").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

const NO_BODY: Option<&()> = None;

fn unsendable(problem: &str) -> ApiError {
    ApiError::Unreachable { problem: problem.to_owned(), before_sending: true }
}

async fn read_bounded(response: &mut reqwest::Response) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_MAX => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                return Err(ApiError::Unreadable { problem: format!("a response of more than {ANSWER_MAX} bytes") });
            }
            Ok(None) => return Ok(body.freeze()),
            Err(error) => {
                return Err(ApiError::Unreadable { problem: format!("the answer broke off: {}", root_cause(error)) });
            }
        }
    }
}

/// Distinguishes a connection that failed before the request was sent (name, connect, TLS) from one that failed later.
fn unreachable(error: reqwest::Error) -> ApiError {
    ApiError::Unreachable { before_sending: error.is_connect(), problem: root_cause(error) }
}

/// The innermost cause, which is the one that a user can act on. It omits the URL: the reader knows it, and its
/// contents must stay out of logs.
pub(crate) fn root_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

//! In-memory Linktree: the simulator without sockets, with records for the invariants.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use linktree_operator::{
    clock,
    linktree::{
        error::ApiError,
        secret::Secret,
        wire::{CreateSubscription, SubscriptionId, UpdateSubscription},
    },
    simulator::{
        InProcess,
        state::{Setup, State, accounts::AccountKey, ids::Ids, offers::Offers, subscriptions::Subscription},
    },
};

use crate::time;

/// The account's token, which no readable object may contain.
pub const TOKEN: &str = "lt_test_never-to-be-seen";
/// Another token of the same account.
pub const SECOND_TOKEN: &str = "lt_test_second-to-be-unseen";
/// The token of another account.
pub const OTHER_TOKEN: &str = "lt_test_other-account-unseen";
pub const ACCOUNT: AccountKey = AccountKey(0);

pub type Answer = Response<Result<Bytes, ApiError>>;

#[derive(Clone)]
pub struct Linktree {
    simulator: Arc<InProcess>,
    record: Arc<Mutex<Record>>,
    quirk: Arc<Mutex<Option<Quirk>>>,
    /// Whether a second registration of a url is rejected, as the real service does.
    rejects_second: bool,
}

/// An error of the next list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// The list omits all our subscriptions.
    OmitsFirst,
    /// The page has a cursor for itself.
    RepeatsPage,
    /// The page has each subscription twice.
    TwiceOnAPage,
}

/// Records for the invariants.
#[derive(Default)]
struct Record {
    /// The time of each request below `/v1/webhooks`.
    requests: Vec<Timestamp>,
    /// The maximum number of subscriptions with the same url.
    most_of_one_url: usize,
    secrets: Vec<String>,
}

impl Linktree {
    pub fn new(seed: u64, rate_limits: bool) -> Self {
        let accounts = [
            format!("name=acc_1,plan=Pro,token={TOKEN},token={SECOND_TOKEN}"),
            format!("name=acc_2,plan=Pro,token={OTHER_TOKEN}"),
        ];
        let accounts = accounts.iter().map(|account| account.parse().unwrap()).collect();
        let simulator = InProcess::new(Setup { accounts, rate_limits, offers: Offers::All }, Ids::from_seed(seed));
        Linktree {
            simulator: Arc::new(simulator),
            record: Arc::default(),
            quirk: Arc::default(),
            rejects_second: false,
        }
    }

    /// A Linktree that rejects a second registration of a url with 409.
    pub fn rejecting_second(seed: u64) -> Self {
        Linktree { rejects_second: true, ..Linktree::new(seed, false) }
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        time::with_correct_clock(|| self.simulator.with(act))
    }

    /// Handles one request. A second registration of the same url succeeds, which is the harder case: the real service
    /// may not reject it, and then only the operator prevents duplicates.
    pub async fn answer(&self, request: Request<Bytes>) -> Answer {
        if request.uri().path().starts_with("/v1/webhooks") {
            self.record.lock().unwrap().requests.push(time::with_correct_clock(clock::now));
        }
        let is_list = *request.method() == Method::GET && request.uri().path() == "/v1/webhooks";
        let answer = match self.second(&request) {
            Some(answer) => answer,
            None => self.forward(request).await,
        };
        let quirk = if is_list { self.quirk.lock().unwrap().take() } else { None };
        let answer = match quirk {
            Some(quirk) => answer.map(|body| body.map(|body| distorted(quirk, &body))),
            None => answer,
        };
        self.record_state();
        answer
    }

    async fn forward(&self, request: Request<Bytes>) -> Answer {
        let service = TowerToHyperService::new(self.simulator.api());
        let mut asked = pin!(service.call(request.map(Body::from)));
        // The simulator's clock is correct, even if the operator's is not.
        let answer =
            std::future::poll_fn(|context| -> Poll<_> { time::with_correct_clock(|| asked.as_mut().poll(context)) })
                .await;
        let (head, body) = answer.unwrap_or_else(|never| match never {}).into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        Response::from_parts(
            head,
            body.map_err(|_| ApiError::Unreadable { problem: "the answer broke off".to_owned() }),
        )
    }

    fn second(&self, request: &Request<Bytes>) -> Option<Answer> {
        if (request.method(), request.uri().path()) != (&Method::POST, "/v1/webhooks") {
            return None;
        }
        let asked: CreateSubscription = serde_json::from_slice(request.body()).ok()?;
        if self.rejects_second {
            return None;
        }
        let taken = self.subscriptions().iter().any(|known| known.url == asked.url);
        let made = taken.then(|| self.with(|state, now| state.add(ACCOUNT, asked.url, asked.events, now).unwrap()))?;
        let body = Bytes::from(serde_json::to_vec(&made).unwrap());
        Some(Response::builder().status(StatusCode::CREATED).body(Ok(body)).unwrap())
    }

    fn record_state(&self) {
        let all = self.subscriptions();
        let of_one_url = |url: &str| all.iter().filter(|it| it.url == url).count();
        let most = all.iter().map(|it| of_one_url(&it.url)).max().unwrap_or(0);
        let mut record = self.record.lock().unwrap();
        record.most_of_one_url = record.most_of_one_url.max(most);
        for it in &all {
            if !record.secrets.iter().any(|known| known == it.secret.expose()) {
                record.secrets.push(it.secret.expose().to_owned());
            }
        }
    }

    /// Makes the next list wrong.
    pub fn set_quirk(&self, quirk: Option<Quirk>) {
        *self.quirk.lock().unwrap() = quirk;
    }

    /// The account's subscriptions.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.with(|state, _| state.subscriptions.iter().cloned().collect())
    }

    /// Edits a subscription, as in the dashboard.
    pub fn edit(&self, id: &SubscriptionId, change: UpdateSubscription) {
        self.with(|state, now| state.edit(id, change, now).unwrap());
    }

    pub fn remove(&self, id: &SubscriptionId) {
        self.with(|state, _| state.remove(id).unwrap());
    }

    pub fn add(&self, url: &str, events: &[&str]) -> SubscriptionId {
        let events = events.iter().map(|it| it.parse().unwrap()).collect();
        self.with(|state, now| state.add(ACCOUNT, url.to_owned(), events, now).unwrap().id)
    }

    pub fn set_secret(&self, id: &SubscriptionId, secret: &str) {
        self.with(|state, _| state.set_secret(id, Secret::new(secret)).unwrap());
    }

    pub fn most_of_one_url(&self) -> usize {
        self.record.lock().unwrap().most_of_one_url
    }

    /// The maximum number of requests below `/v1/webhooks` within any minute.
    pub fn most_in_a_minute(&self) -> usize {
        let requests = self.record.lock().unwrap().requests.clone();
        let within = |from: &Timestamp| {
            requests.iter().filter(|at| *at >= from && at.duration_since(*from).as_secs() < 60).count()
        };
        requests.iter().map(within).max().unwrap_or(0)
    }

    /// All signing secrets so far, and the token.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.record.lock().unwrap().secrets.clone();
        secrets.extend([TOKEN, SECOND_TOKEN, OTHER_TOKEN].map(str::to_owned));
        secrets
    }
}

fn distorted(quirk: Quirk, page: &Bytes) -> Bytes {
    let mut page: serde_json::Value = serde_json::from_slice(page).unwrap();
    let Some(items) = page["data"].as_array_mut() else { return Bytes::from(page.to_string()) };
    match quirk {
        Quirk::OmitsFirst => {
            items.retain(|item| !item["url"].as_str().unwrap_or_default().contains("hooks.example.com"));
        }
        Quirk::TwiceOnAPage => items.extend(items.clone()),
        // The simulator's cursor for the first page.
        Quirk::RepeatsPage => page["next_cursor"] = "after_0".into(),
    }
    Bytes::from(page.to_string())
}

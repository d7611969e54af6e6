//! The state of the simulator, and Linktree's rules. Pure: the real time is an argument, and there is no IO. The HTTP
//! layer only translates.
//!
//! | module | content |
//! |---|---|
//! | [`accounts`], [`limits`] | tokens and plans, request budgets |
//! | [`subscriptions`], [`endpoint`], [`webhooks`] | subscriptions, their valid urls, the calls on them |
//! | [`catalog`] | links, profile and milestones, which events come from |
//! | [`deliveries`], [`sending`], [`spelling`], [`sender`] | retries, requests and faults on the wire, spelling of bodies, due times |
//! | [`faults`], [`forgery`] | injected faults and forged requests |
//! | [`offers`] | the calls that the API offers |
//! | [`calls`] | the call log |
//! | [`clock`], [`ids`], [`rejection`] | time, ids, rejections |

pub mod accounts;
pub mod calls;
pub mod catalog;
pub mod clock;
pub mod deliveries;
pub mod endpoint;
pub mod faults;
pub mod forgery;
pub mod ids;
pub mod limits;
pub mod offers;
pub mod rejection;
pub mod sender;
pub mod sending;
mod spelling;
pub mod subscriptions;
pub mod webhooks;

use jiff::Timestamp;

use self::{
    accounts::{Account, AccountKey, Accounts},
    calls::CallLog,
    catalog::Page,
    clock::Clock,
    deliveries::Deliveries,
    faults::{ApiFault, Faults},
    ids::Ids,
    limits::{Budget, RateLimits},
    offers::Offers,
    rejection::Rejection,
    subscriptions::Subscriptions,
};
use crate::{linktree::wire, simulator::config::AccountConfig};

/// The configuration of the simulator, kept for [`State::reset`].
#[derive(Clone, Debug)]
pub struct Setup {
    pub accounts: Vec<AccountConfig>,
    pub rate_limits: bool,
    pub offers: Offers,
}

/// The decision of [`State::admit`] about a request to the API.
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    /// The id of the account that the token belongs to; `None` for an unknown token.
    pub account_id: Option<String>,
    /// The requests left, for the `X-RateLimit-Remaining` header; `None` if limits are not enforced or the token is
    /// unknown.
    pub remaining: Option<u32>,
    pub verdict: Result<AccountKey, Rejection>,
}

#[derive(Debug)]
pub struct State {
    setup: Setup,
    ids: Ids,
    pub clock: Clock,
    pub accounts: Accounts,
    /// One page per account, in the order of [`AccountKey`].
    pages: Vec<Page>,
    pub subscriptions: Subscriptions,
    pub deliveries: Deliveries,
    limits: RateLimits,
    pub faults: Faults,
    pub calls: CallLog,
    /// Whether a retry of a delivery gets a new timestamp and signature. The real service's behaviour is unknown, so
    /// the simulator supports both.
    pub resign_retries: bool,
    /// Whether only answers with a 5xx status count for the 72 hours, as Linktree's troubleshooting table has it; its text
    /// says any failure.
    pub only_5xx_disables: bool,
    /// Whether deliveries use connections that are kept alive.
    pub keep_alive: bool,
    pub offers: Offers,
}

impl State {
    #[must_use]
    pub fn new(setup: Setup, ids: Ids) -> Self {
        let accounts = Accounts::new(&setup.accounts);
        let username = |id: &str| id.trim_start_matches("acc_").to_owned();
        State {
            pages: accounts.iter().map(|(key, account)| Page::new(key, &username(&account.id))).collect(),
            accounts,
            limits: RateLimits::new(setup.rate_limits),
            ids,
            clock: Clock::default(),
            subscriptions: Subscriptions::default(),
            deliveries: Deliveries::default(),
            faults: Faults::default(),
            calls: CallLog::default(),
            resign_retries: true,
            only_5xx_disables: false,
            keep_alive: false,
            offers: setup.offers,
            setup,
        }
    }

    /// Resets everything except the accounts; ids are not reused.
    pub fn reset(&mut self) {
        let seed = self.ids.seed();
        *self = State::new(self.setup.clone(), Ids::from_seed(seed));
    }

    /// Admits or rejects a request by its `Authorization` header: token first, then budget, then plan.
    pub fn admit(&mut self, authorization: Option<&str>, budget: Budget, real: Timestamp) -> Admission {
        let token = match self.accounts.authenticate(authorization) {
            Ok(token) => token,
            Err(rejection) => return Admission { account_id: None, remaining: None, verdict: Err(rejection) },
        };
        let account = self.accounts.get(token.account);
        let account_id = account.map(|account| account.id.clone());
        let remaining = match self.limits.take(token, budget, self.clock.now(real)) {
            Ok(remaining) => remaining,
            Err(rejection) => return Admission { account_id, remaining: Some(0), verdict: Err(rejection) },
        };
        let may_use_webhooks = || account.map_or(Err(Rejection::NotFound), Account::may_use_webhooks);
        let verdict = match budget {
            Budget::WebhookManagement => may_use_webhooks(),
            Budget::Overall => Ok(()),
        };
        Admission { account_id, remaining, verdict: verdict.map(|()| token.account) }
    }

    /// Uses a fault that is set for a call with this `Authorization` header, if there is one.
    pub fn fault(&mut self, method: &str, path: &str, authorization: Option<&str>) -> Option<ApiFault> {
        let token = self.accounts.authenticate(authorization).ok();
        let account = token.and_then(|token| self.accounts.get(token.account));
        self.faults.take_api(method, path, account.map(|account| account.id.as_str()))
    }

    /// The response to `GET /v1/me`.
    ///
    /// # Errors
    /// [`Rejection::NotFound`] if there is no such account.
    pub fn me(&self, account: AccountKey) -> Result<wire::Account, Rejection> {
        self.accounts.me(account, &self.page(account)?.profile.username)
    }

    /// # Errors
    /// [`Rejection::NotFound`] if there is no such account.
    pub fn page(&self, account: AccountKey) -> Result<&Page, Rejection> {
        self.pages.get(account.0).ok_or(Rejection::NotFound)
    }

    /// # Errors
    /// [`Rejection::NotFound`] if there is no such account.
    pub fn page_mut(&mut self, account: AccountKey) -> Result<&mut Page, Rejection> {
        self.pages.get_mut(account.0).ok_or(Rejection::NotFound)
    }

    /// The page with this link.
    ///
    /// # Errors
    /// [`Rejection::NotFound`] if no page has this link.
    pub fn page_with_link(&mut self, id: &str) -> Result<&mut Page, Rejection> {
        self.pages.iter_mut().find(|page| page.has_link(id)).ok_or(Rejection::NotFound)
    }

    pub fn new_link_id(&mut self) -> String {
        self.ids.link()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_judged_by_token_then_budget_then_plan() {
        let accounts = ["name=a,token=t1", "name=b,plan=Free,token=t2"].map(|account| account.parse().unwrap()).into();
        let mut state = State::new(Setup { accounts, rate_limits: true, offers: Offers::All }, Ids::from_seed(1));
        let mut admit = |token, budget| state.admit(Some(token), budget, Timestamp::UNIX_EPOCH);
        assert_eq!(admit("Bearer t0", Budget::Overall).verdict, Err(Rejection::TokenUnknown));
        assert_eq!(admit("Bearer t1", Budget::WebhookManagement).verdict, Ok(AccountKey(0)));
        assert_eq!(admit("Bearer t2", Budget::Overall).verdict, Ok(AccountKey(1)));
        for left in (0..10).rev() {
            let admission = admit("Bearer t2", Budget::WebhookManagement);
            assert_eq!(admission.verdict, Err(Rejection::PlanExcludesWebhooks { plan: "Free".into() }));
            assert_eq!((admission.remaining, admission.account_id.as_deref()), (Some(left), Some("b")));
        }
        let refused = admit("Bearer t2", Budget::WebhookManagement);
        assert_eq!(refused.verdict, Err(Rejection::TooManyRequests { retry_after_seconds: 60 }));
        assert_eq!(refused.remaining, Some(0));
    }

    #[test]
    fn a_reset_keeps_only_the_accounts() {
        let setup =
            Setup { accounts: vec!["name=a,token=t1".parse().unwrap()], rate_limits: true, offers: Offers::All };
        let mut state = State::new(setup, Ids::from_seed(1));
        let add = |state: &mut State| {
            state.add(AccountKey(0), "https://h.example/".into(), vec![], Timestamp::UNIX_EPOCH).unwrap().id
        };
        let before = add(&mut state);
        state.reset();
        assert_eq!(state.subscriptions.iter().count(), 0);
        assert!(state.accounts.authenticate(Some("Bearer t1")).is_ok());
        assert_ne!(add(&mut state), before, "an id is not reused");
    }
}

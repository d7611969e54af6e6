//! Everything the simulator knows, and every rule of Linktree's it keeps. Pure: the real time is passed in, nothing is
//! sent, nothing is read. The HTTP around it only translates.
//!
//! | module | what it holds |
//! |---|---|
//! | [`accounts`], [`limits`] | who may call, and how often |
//! | [`subscriptions`], [`endpoint`], [`webhooks`] | the subscriptions, the urls they may have, the calls on them |
//! | [`catalog`] | links, profile and milestones: where events come from |
//! | [`deliveries`], [`sending`], [`sender`] | retry table, requests and faults on the wire, what is due next |
//! | [`faults`], [`forgery`] | misbehaviour on request |
//! | [`offers`] | which calls there are |
//! | [`calls`] | the call log |
//! | [`clock`], [`ids`], [`refusal`] | time, names, and the ways to say no |

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
pub mod refusal;
pub mod sender;
pub mod sending;
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
    refusal::Refusal,
    subscriptions::Subscriptions,
};
use super::config::AccountConfig;
use crate::linktree::wire;

/// How the simulator is set up; kept for [`State::reset`].
#[derive(Clone, Debug)]
pub struct Setup {
    pub accounts: Vec<AccountConfig>,
    pub rate_limits: bool,
    pub offers: Offers,
}

/// What [`State::admit`] decided.
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whose token it was.
    pub account_id: Option<String>,
    /// For the `X-RateLimit-Remaining` header; `None` where limits are not enforced or the token is of no account.
    pub remaining: Option<u32>,
    pub verdict: Result<AccountKey, Refusal>,
}

#[derive(Debug)]
pub struct State {
    setup: Setup,
    ids: Ids,
    pub clock: Clock,
    pub accounts: Accounts,
    /// One per account, in the order of [`AccountKey`].
    pages: Vec<Page>,
    pub subscriptions: Subscriptions,
    pub deliveries: Deliveries,
    limits: RateLimits,
    pub faults: Faults,
    pub calls: CallLog,
    /// Whether a retry is signed afresh. What the real service does is not known, so both can be had.
    pub resign_retries: bool,
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
            offers: setup.offers,
            setup,
        }
    }

    /// As new, with the same accounts; ids already handed out do not come again.
    pub fn reset(&mut self) {
        let seed = self.ids.seed();
        *self = State::new(self.setup.clone(), Ids::from_seed(seed));
    }

    /// Decides on a request by its `Authorization` header: token first, then budget, then plan.
    pub fn admit(&mut self, authorization: Option<&str>, budget: Budget, real: Timestamp) -> Admission {
        let token = match self.accounts.authenticate(authorization) {
            Ok(token) => token,
            Err(refusal) => return Admission { account_id: None, remaining: None, verdict: Err(refusal) },
        };
        let account = self.accounts.get(token.account);
        let account_id = account.map(|account| account.id.clone());
        let remaining = match self.limits.take(token, budget, self.clock.now(real)) {
            Ok(remaining) => remaining,
            Err(refusal) => return Admission { account_id, remaining: Some(0), verdict: Err(refusal) },
        };
        let may_use_webhooks = || account.map_or(Err(Refusal::NotFound), Account::may_use_webhooks);
        let verdict = match budget {
            Budget::WebhookManagement => may_use_webhooks(),
            Budget::Overall => Ok(()),
        };
        Admission { account_id, remaining, verdict: verdict.map(|()| token.account) }
    }

    /// The fault that is set for a call with this `Authorization` header.
    pub fn fault(&mut self, method: &str, path: &str, authorization: Option<&str>) -> Option<ApiFault> {
        let token = self.accounts.authenticate(authorization).ok();
        let account = token.and_then(|token| self.accounts.get(token.account));
        self.faults.take_api(method, path, account.map(|account| account.id.as_str()))
    }

    /// `GET /v1/me`.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn me(&self, account: AccountKey) -> Result<wire::Account, Refusal> {
        self.accounts.me(account, &self.page(account)?.profile.username)
    }

    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn page(&self, account: AccountKey) -> Result<&Page, Refusal> {
        self.pages.get(account.0).ok_or(Refusal::NotFound)
    }

    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn page_mut(&mut self, account: AccountKey) -> Result<&mut Page, Refusal> {
        self.pages.get_mut(account.0).ok_or(Refusal::NotFound)
    }

    /// The page that has this link.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn page_with_link(&mut self, id: &str) -> Result<&mut Page, Refusal> {
        self.pages.iter_mut().find(|page| page.has_link(id)).ok_or(Refusal::NotFound)
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
        assert_eq!(admit("Bearer t0", Budget::Overall).verdict, Err(Refusal::TokenUnknown));
        assert_eq!(admit("Bearer t1", Budget::WebhookManagement).verdict, Ok(AccountKey(0)));
        assert_eq!(admit("Bearer t2", Budget::Overall).verdict, Ok(AccountKey(1)));
        for left in (0..10).rev() {
            let admission = admit("Bearer t2", Budget::WebhookManagement);
            assert_eq!(admission.verdict, Err(Refusal::PlanExcludesWebhooks { plan: "Free".into() }));
            assert_eq!((admission.remaining, admission.account_id.as_deref()), (Some(left), Some("b")));
        }
        let refused = admit("Bearer t2", Budget::WebhookManagement);
        assert_eq!(refused.verdict, Err(Refusal::TooManyRequests { retry_after_seconds: 60 }));
        assert_eq!(refused.remaining, Some(0));
    }

    #[test]
    fn a_reset_leaves_the_accounts_and_nothing_else() {
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
        assert_ne!(add(&mut state), before, "an old id is not given to another thing");
    }
}

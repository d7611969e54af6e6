//! The simulated Linktree's accounts, with their pricing plans and API tokens.

use super::rejection::Rejection;
use crate::{
    linktree::{secret::Secret, wire},
    simulator::config::AccountConfig,
};

/// Plans without webhooks. Assumed: their names; that such plans exist is known.
const PLANS_WITHOUT_WEBHOOKS: [&str; 2] = ["Free", "Starter"];

/// The key of an account: its position in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountKey(pub usize);

/// The key of a token. Each token has its own request budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey {
    pub account: AccountKey,
    position: usize,
}

#[derive(Debug)]
pub struct Account {
    pub id: String,
    pub plan: String,
    tokens: Vec<Secret>,
}

impl Account {
    /// Rejects an account with a plan that does not include webhooks.
    ///
    /// # Errors
    /// [`Rejection::PlanExcludesWebhooks`].
    pub fn may_use_webhooks(&self) -> Result<(), Rejection> {
        if PLANS_WITHOUT_WEBHOOKS.iter().any(|plan| plan.eq_ignore_ascii_case(&self.plan)) {
            return Err(Rejection::PlanExcludesWebhooks { plan: self.plan.clone() });
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct Accounts(Vec<Account>);

impl Accounts {
    #[must_use]
    pub fn new(configured: &[AccountConfig]) -> Self {
        Accounts(
            configured
                .iter()
                .map(|account| Account {
                    id: account.name.clone(),
                    plan: account.plan.clone(),
                    tokens: account.tokens.clone(),
                })
                .collect(),
        )
    }

    /// Finds the token of an `Authorization` header. The scheme's case is ignored (RFC 9110, 11.1).
    ///
    /// # Errors
    /// [`Rejection::TokenMissing`] and [`Rejection::TokenUnknown`].
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<TokenKey, Rejection> {
        let (scheme, token) = authorization.and_then(|value| value.split_once(' ')).ok_or(Rejection::TokenMissing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Rejection::TokenMissing);
        }
        let token = Secret::new(token.trim());
        self.tokens().find(|(_, known)| **known == token).map(|(key, _)| key).ok_or(Rejection::TokenUnknown)
    }

    fn tokens(&self) -> impl Iterator<Item = (TokenKey, &Secret)> {
        self.iter().flat_map(|(account, it)| {
            it.tokens.iter().enumerate().map(move |(position, token)| (TokenKey { account, position }, token))
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = (AccountKey, &Account)> {
        self.0.iter().enumerate().map(|(position, account)| (AccountKey(position), account))
    }

    #[must_use]
    pub fn get(&self, key: AccountKey) -> Option<&Account> {
        self.0.get(key.0)
    }

    /// The account with this name; if `name` is `None`, the first account.
    ///
    /// # Errors
    /// [`Rejection::NotFound`] if there is no such account.
    pub fn find(&self, name: Option<&str>) -> Result<AccountKey, Rejection> {
        let mut accounts = self.iter();
        let found = accounts.find(|(_, account)| name.is_none_or(|name| account.id == name));
        found.map(|(key, _)| key).ok_or(Rejection::NotFound)
    }

    /// The response to `GET /v1/me`.
    ///
    /// # Errors
    /// [`Rejection::NotFound`] if there is no such account.
    pub fn me(&self, key: AccountKey, username: &str) -> Result<wire::Account, Rejection> {
        let account = self.get(key).ok_or(Rejection::NotFound)?;
        Ok(wire::Account {
            id: account.id.clone(),
            username: Some(username.to_owned()),
            plan: Some(account.plan.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_authenticates_its_own_account_only() {
        let accounts = Accounts::new(&[
            "name=a,plan=Pro,token=t1,token=t2".parse().unwrap(),
            "name=b,plan=Free,token=t3".parse().unwrap(),
        ]);
        let account = |header| accounts.authenticate(header).map(|token| token.account.0);
        assert_eq!(account(Some("Bearer t1")), Ok(0));
        assert_eq!(account(Some("bearer t2")), Ok(0));
        assert_eq!(account(Some("Bearer t3")), Ok(1));
        assert_ne!(accounts.authenticate(Some("Bearer t1")), accounts.authenticate(Some("Bearer t2")));
        for (header, rejection) in [
            (None, Rejection::TokenMissing),
            (Some("t1"), Rejection::TokenMissing),
            (Some("Basic t1"), Rejection::TokenMissing),
            (Some("Bearer t"), Rejection::TokenUnknown),
            (Some("Bearer "), Rejection::TokenUnknown),
        ] {
            assert_eq!(account(header), Err(rejection), "{header:?}");
        }
        assert!(accounts.get(AccountKey(0)).unwrap().may_use_webhooks().is_ok());
        assert!(accounts.get(AccountKey(1)).unwrap().may_use_webhooks().is_err());
    }
}

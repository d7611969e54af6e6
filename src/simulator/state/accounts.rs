//! Accounts, their plans and their tokens.

use super::refusal::Refusal;
use crate::{
    linktree::{secret::Secret, wire},
    simulator::config::AccountConfig,
};

/// Plans without webhooks. Assumed: their names; that such plans exist is known.
const PLANS_WITHOUT_WEBHOOKS: [&str; 2] = ["Free", "Starter"];

/// Which account; the position in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountKey(pub usize);

/// Which token of which account: what request budgets are counted by.
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
    /// Refuses accounts whose plan does not include webhooks.
    ///
    /// # Errors
    /// [`Refusal::PlanExcludesWebhooks`].
    pub fn may_use_webhooks(&self) -> Result<(), Refusal> {
        if PLANS_WITHOUT_WEBHOOKS.iter().any(|plan| plan.eq_ignore_ascii_case(&self.plan)) {
            return Err(Refusal::PlanExcludesWebhooks { plan: self.plan.clone() });
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

    /// Whose token this `Authorization` header holds. The scheme's name is compared without case (RFC 9110, 11.1).
    ///
    /// # Errors
    /// [`Refusal::TokenMissing`] and [`Refusal::TokenUnknown`].
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<TokenKey, Refusal> {
        let (scheme, token) = authorization.and_then(|value| value.split_once(' ')).ok_or(Refusal::TokenMissing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::TokenMissing);
        }
        let token = Secret::new(token.trim());
        self.tokens().find(|(_, known)| **known == token).map(|(key, _)| key).ok_or(Refusal::TokenUnknown)
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

    /// The account of this name; without a name the first one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn find(&self, name: Option<&str>) -> Result<AccountKey, Refusal> {
        let mut accounts = self.iter();
        let found = accounts.find(|(_, account)| name.is_none_or(|name| account.id == name));
        found.map(|(key, _)| key).ok_or(Refusal::NotFound)
    }

    /// The answer to `GET /v1/me`.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn me(&self, key: AccountKey, username: &str) -> Result<wire::Account, Refusal> {
        let account = self.get(key).ok_or(Refusal::NotFound)?;
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
    fn a_token_opens_its_own_account_and_nothing_else_opens_any() {
        let accounts = Accounts::new(&[
            "name=a,plan=Pro,token=t1,token=t2".parse().unwrap(),
            "name=b,plan=Free,token=t3".parse().unwrap(),
        ]);
        let account = |header| accounts.authenticate(header).map(|token| token.account.0);
        assert_eq!(account(Some("Bearer t1")), Ok(0));
        assert_eq!(account(Some("bearer t2")), Ok(0));
        assert_eq!(account(Some("Bearer t3")), Ok(1));
        assert_ne!(accounts.authenticate(Some("Bearer t1")), accounts.authenticate(Some("Bearer t2")));
        for (header, refusal) in [
            (None, Refusal::TokenMissing),
            (Some("t1"), Refusal::TokenMissing),
            (Some("Basic t1"), Refusal::TokenMissing),
            (Some("Bearer t"), Refusal::TokenUnknown),
            (Some("Bearer "), Refusal::TokenUnknown),
        ] {
            assert_eq!(account(header), Err(refusal), "{header:?}");
        }
        assert!(accounts.get(AccountKey(0)).unwrap().may_use_webhooks().is_ok());
        assert!(accounts.get(AccountKey(1)).unwrap().may_use_webhooks().is_err());
    }
}

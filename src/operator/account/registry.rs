//! Registry of the accounts of all connections. Connections with the same base URL and token share one account:
//! Linktree's rate limit is per token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use url::Url;

use super::{Account, limiter::Budget};
use crate::{
    linktree::secret::Secret,
    operator::kubernetes::{digest::digest, object_key::ObjectKey},
};

/// Maximum number of budgets that are kept of accounts without connections.
const LEFT_MAX: usize = 1024;

/// Accounts by connection. An account lives as long as a connection has its base URL and token, or a webhook may need it
/// to delete its subscription.
#[derive(Debug, Default)]
pub struct Accounts {
    entries: Mutex<HashMap<ObjectKey, Entry>>,
    /// The budgets of accounts that were dropped, by the digest of their credentials: Linktree still counts their
    /// requests.
    left: Mutex<HashMap<u64, Budget>>,
}

#[derive(Debug)]
struct Entry {
    credentials: Credentials,
    account: Arc<Account>,
    /// The digest of the token, as the statuses of webhooks have it.
    token_digest: Arc<str>,
    /// Whether the connection and its token still exist.
    current: bool,
    /// The account with the connection's previous token. Subscriptions may have stayed in it, and that token may return.
    former: Option<Former>,
}

#[derive(Clone, Debug)]
struct Former {
    credentials: Credentials,
    account: Arc<Account>,
    token_digest: Arc<str>,
}

/// The base URL and token that identify an account, however the URL is spelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    base_url: String,
    token: Secret,
}

impl Credentials {
    #[must_use]
    pub fn new(base_url: &str, token: Secret) -> Self {
        Credentials { base_url: normalized(base_url), token }
    }

    /// The normalized base URL.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.token
    }

    fn digest(&self) -> u64 {
        digest(&(&self.base_url, self.token.expose()))
    }

    /// A digest of the token, to notice that it was changed. A token is random, so it cannot be guessed from this.
    fn token_digest(&self) -> Arc<str> {
        hex::encode(&Sha256::digest(self.token.expose())[..8]).into()
    }
}

/// One spelling of all URLs that lead to the same API: the parser writes the host in lower case and leaves out a default
/// port; the dot at the end of a host and the slash at the end of a path are left out here.
fn normalized(base_url: &str) -> String {
    let Ok(mut url) = Url::parse(base_url.trim()) else { return base_url.to_owned() };
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')).map(str::to_owned) {
        // It fails only for a host that is nothing but a dot, which stays as it is.
        let _ = url.set_host(Some(&host));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.into()
}

impl Accounts {
    /// Whether any LinktreeConnection uses these credentials.
    #[must_use]
    pub fn contains(&self, credentials: &Credentials) -> bool {
        self.entries().values().any(|entry| entry.credentials == *credentials)
    }

    /// The account of a connection with these credentials: a shared one, or created with `create` if no connection has
    /// them.
    ///
    /// # Errors
    /// The error of `create`.
    pub fn get_or_create<E>(
        &self,
        connection: &ObjectKey,
        credentials: &Credentials,
        requests_per_minute: usize,
        create: impl FnOnce() -> Result<Account, E>,
    ) -> Result<Arc<Account>, E> {
        let mut entries = self.entries();
        let existing = entries.values().find(|entry| entry.credentials == *credentials).map(|entry| &entry.account);
        let returning = || {
            let former = entries.get(connection)?.former.as_ref()?;
            (former.credentials == *credentials).then_some(&former.account)
        };
        let account = match existing.or_else(returning) {
            Some(account) => Arc::clone(account),
            None => Arc::new(create()?),
        };
        let former = match entries.remove(connection) {
            Some(before) if Arc::ptr_eq(&before.account, &account) => before.former,
            Some(Entry { credentials, account, token_digest, .. }) => {
                account.remove_connection(connection);
                Some(Former { credentials, account, token_digest })
            }
            None => None,
        };
        let (credentials, token_digest) = (credentials.clone(), credentials.token_digest());
        let entry = Entry { credentials, account: Arc::clone(&account), token_digest, current: true, former };
        entries.insert(connection.clone(), entry);
        account.add_connection(connection, requests_per_minute);
        Ok(account)
    }

    /// The account of a connection; `None` if the connection or its token no longer exists.
    #[must_use]
    pub fn get(&self, connection: &ObjectKey) -> Option<Arc<Account>> {
        self.entries().get(connection).filter(|entry| entry.current).map(|entry| Arc::clone(&entry.account))
    }

    /// The account of a connection, even after the connection or its token was deleted. Only for deleting
    /// subscriptions: when a whole namespace is deleted, the last known token still works for that.
    #[must_use]
    pub fn last_known(&self, connection: &ObjectKey) -> Option<Arc<Account>> {
        self.entries().get(connection).map(|entry| Arc::clone(&entry.account))
    }

    /// The digest of the last known token of a connection.
    #[must_use]
    pub fn token_digest(&self, connection: &ObjectKey) -> Option<Arc<str>> {
        self.entries().get(connection).map(|entry| Arc::clone(&entry.token_digest))
    }

    /// The account with the connection's previous token, and the digest of that token. Only for deleting subscriptions
    /// that have stayed in it.
    #[must_use]
    pub fn former(&self, connection: &ObjectKey) -> Option<(Arc<Account>, Arc<str>)> {
        let Former { account, token_digest, .. } = self.entries().get(connection)?.former.clone()?;
        Some((account, token_digest))
    }

    /// The other connections with the same account as this one, perhaps with another of its tokens.
    #[must_use]
    pub fn sharing_with(&self, connection: &ObjectKey) -> Vec<ObjectKey> {
        let entries = self.entries();
        let Some(own) = entries.get(connection) else { return Vec::new() };
        let is_one_account = |entry: &Entry| {
            entry.credentials.base_url == own.credentials.base_url && entry.account.is_same_as(&own.account)
        };
        let shares =
            |entry: &Entry| entry.current && (Arc::ptr_eq(&entry.account, &own.account) || is_one_account(entry));
        let others = entries.iter().filter(|(key, entry)| *key != connection && shares(entry));
        others.map(|(key, _)| key.clone()).collect()
    }

    /// Marks a connection's account as no longer usable, because the connection or its token was deleted.
    /// [`Accounts::last_known`] still returns it.
    pub fn forget(&self, connection: &ObjectKey) {
        if let Some(entry) = self.entries().get_mut(connection) {
            entry.current = false;
            entry.account.remove_connection(connection);
        }
    }

    /// The budget of a dropped account with these credentials, if it is still in use by Linktree's count.
    #[must_use]
    pub fn left_budget(&self, credentials: &Credentials) -> Option<Budget> {
        self.left().remove(&credentials.digest())
    }

    /// Drops the accounts, with their tokens and snapshots, of connections that no longer exist (`exists`) and that no
    /// webhook needs any more (`is_needed`). Only the use of the budget is remembered, until it no longer counts.
    pub fn sweep(&self, exists: impl Fn(&ObjectKey) -> bool, is_needed: impl Fn(&ObjectKey) -> bool, now: Timestamp) {
        let mut entries = self.entries();
        for (key, entry) in entries.iter_mut().filter(|(key, entry)| entry.current && !exists(key)) {
            entry.current = false;
            entry.account.remove_connection(key);
        }
        let (kept, dropped): (HashMap<_, _>, HashMap<_, _>) =
            entries.drain().partition(|(key, entry)| entry.current || is_needed(key));
        *entries = kept;
        let mut left = self.left();
        left.retain(|_, budget| !budget.is_unused(now));
        for entry in dropped.into_values() {
            let is_used = entries.values().any(|other| Arc::ptr_eq(&other.account, &entry.account));
            if !is_used && left.len() < LEFT_MAX {
                left.insert(entry.credentials.digest(), entry.account.used_budget());
            }
        }
    }

    /// All accounts, each once even if connections share it.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Account>> {
        let entries = self.entries();
        let mut all: Vec<Arc<Account>> = Vec::new();
        for entry in entries.values() {
            if !all.iter().any(|known| Arc::ptr_eq(known, &entry.account)) {
                all.push(Arc::clone(&entry.account));
            }
        }
        all
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<ObjectKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, HashMap<u64, Budget>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::operator::account::tests::account;

    fn key(namespace: &str) -> ObjectKey {
        ObjectKey::new(namespace, "brand")
    }

    fn get(accounts: &Accounts, namespace: &str, token: &str, requests_per_minute: usize) -> Arc<Account> {
        let credentials = Credentials::new("https://a", Secret::new(token));
        let create = || Ok::<_, ()>(account(requests_per_minute));
        accounts.get_or_create(&key(namespace), &credentials, requests_per_minute, create).unwrap()
    }

    fn limit(account: &Account) -> usize {
        account.load(jiff::Timestamp::UNIX_EPOCH).limit
    }

    #[test]
    fn connections_with_one_token_share_an_account_and_the_smallest_budget() {
        let accounts = Accounts::default();
        let a = get(&accounts, "a", "t", 10);
        let b = get(&accounts, "b", "t", 4);
        assert!(Arc::ptr_eq(&a, &b) && accounts.all().len() == 1);
        assert_eq!((limit(&a), accounts.sharing_with(&key("a"))), (4, vec![key("b")]));

        let c = get(&accounts, "b", "another", 4);
        assert!(!Arc::ptr_eq(&a, &c));
        assert_eq!((limit(&a), accounts.sharing_with(&key("a"))), (10, vec![]), "connection b has another token now");
    }

    #[test]
    fn the_spellings_of_a_base_url_are_one_account() {
        let credentials = |url: &str| Credentials::new(url, Secret::new("t"));
        for same in
            ["https://API.linktr.ee", "https://api.linktr.ee/", "https://api.linktr.ee:443", "https://api.linktr.ee./"]
        {
            assert_eq!(credentials(same), credentials("https://api.linktr.ee"), "{same}");
        }
        for other in
            ["http://api.linktr.ee", "https://api.linktr.ee:8443", "https://linktr.ee", "https://api.linktr.ee/x"]
        {
            assert_ne!(credentials(other), credentials("https://api.linktr.ee"), "{other}");
        }
    }

    #[test]
    fn an_account_is_dropped_once_unused_and_its_used_budget_counts_on() {
        let (accounts, now) = (Accounts::default(), clock::steady());
        let (first, second) = (get(&accounts, "a", "t", 10), get(&accounts, "b", "t", 4));
        first.acquire_slot(crate::operator::account::request_queue::Priority::Create, &key("a")).unwrap();
        drop((first, second));
        accounts.sweep(|connection| *connection == key("a"), |_| true, now);
        let account = accounts.get(&key("a")).unwrap();
        assert_eq!(limit(&account), 10, "the lower budget went with its connection");
        assert!(accounts.last_known(&key("b")).is_some(), "a webhook needs it");
        drop(account);
        accounts.sweep(|_| false, |_| false, now);
        assert!(accounts.all().is_empty() && accounts.last_known(&key("b")).is_none());
        let credentials = Credentials::new("https://a/", Secret::new("t"));
        assert_eq!(accounts.left_budget(&credentials).map(|left| left.remaining(clock::steady())), Some(9));
        assert!(accounts.left_budget(&credentials).is_none(), "it was taken");
    }

    #[test]
    fn a_forgotten_account_serves_deletions_and_returns_with_its_used_budget() {
        let accounts = Accounts::default();
        let account = get(&accounts, "a", "t", 1);
        account.acquire_slot(crate::operator::account::request_queue::Priority::Create, &key("a")).unwrap();
        accounts.forget(&key("a"));
        assert!(accounts.get(&key("a")).is_none());
        assert!(Arc::ptr_eq(&accounts.last_known(&key("a")).unwrap(), &account));
        let again = get(&accounts, "a", "t", 1);
        assert_eq!(again.budget(crate::clock::now()).0, 0, "the token's budget is still used up");
    }
}

//! Registry of the accounts of all connections. Connections with the same base URL and token share one account:
//! Linktree's rate limit is per token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Account;
use crate::{linktree::secret::Secret, operator::kubernetes::object_key::ObjectKey};

/// Accounts by connection. An account lives as long as a connection has its base URL and token.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<HashMap<ObjectKey, Entry>>);

#[derive(Debug)]
struct Entry {
    credentials: Credentials,
    account: Arc<Account>,
    /// Whether the connection and its token still exist.
    current: bool,
}

/// The base URL and token that identify an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    pub base_url: String,
    pub token: Secret,
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
        let existing = entries.values().find(|entry| entry.credentials == *credentials);
        let account = match existing {
            Some(entry) => Arc::clone(&entry.account),
            None => Arc::new(create()?),
        };
        let entry = Entry { credentials: credentials.clone(), account: Arc::clone(&account), current: true };
        if let Some(before) = entries.insert(connection.clone(), entry)
            && !Arc::ptr_eq(&before.account, &account)
        {
            before.account.remove_connection(connection);
        }
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

    /// The other connections with the same account as this one.
    #[must_use]
    pub fn sharing_with(&self, connection: &ObjectKey) -> Vec<ObjectKey> {
        let entries = self.entries();
        let Some(own) = entries.get(connection) else { return Vec::new() };
        let shares = |entry: &Entry| entry.current && Arc::ptr_eq(&entry.account, &own.account);
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::account::tests::account;

    fn key(namespace: &str) -> ObjectKey {
        ObjectKey::new(namespace, "brand")
    }

    fn get(accounts: &Accounts, namespace: &str, token: &str, requests_per_minute: usize) -> Arc<Account> {
        let credentials = Credentials { base_url: "https://a".into(), token: Secret::new(token) };
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

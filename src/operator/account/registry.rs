//! The accounts of all connections. Connections with the same base URL and token have one together: Linktree counts
//! requests per token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Account;
use crate::{linktree::secret::Secret, operator::kubernetes::object_key::ObjectKey};

/// An account lives as long as some connection has its base URL and token.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<HashMap<ObjectKey, Entry>>);

#[derive(Debug)]
struct Entry {
    credentials: Credentials,
    account: Arc<Account>,
    /// The connection and its token are still there.
    current: bool,
}

/// What an account's client was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    pub base_url: String,
    pub token: Secret,
}

impl Accounts {
    /// Whether some connection has these credentials.
    #[must_use]
    pub fn knows(&self, credentials: &Credentials) -> bool {
        self.entries().values().any(|entry| entry.credentials == *credentials)
    }

    /// The connection's account, made anew with `make` if no connection has these credentials.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn get_or_make<E>(
        &self,
        connection: &ObjectKey,
        credentials: &Credentials,
        requests_per_minute: usize,
        make: impl FnOnce() -> Result<Account, E>,
    ) -> Result<Arc<Account>, E> {
        let mut entries = self.entries();
        let of_credentials = entries.values().find(|entry| entry.credentials == *credentials);
        let account = match of_credentials {
            Some(entry) => Arc::clone(&entry.account),
            None => Arc::new(make()?),
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

    #[must_use]
    pub fn get(&self, connection: &ObjectKey) -> Option<Arc<Account>> {
        self.entries().get(connection).filter(|entry| entry.current).map(|entry| Arc::clone(&entry.account))
    }

    /// As [`Accounts::get`], also when the connection or its token is gone. For deletions only: where everything is
    /// deleted together, the subscription can still be taken along with what was known a moment ago.
    #[must_use]
    pub fn last_known(&self, connection: &ObjectKey) -> Option<Arc<Account>> {
        self.entries().get(connection).map(|entry| Arc::clone(&entry.account))
    }

    /// The other connections that use the account of this one.
    #[must_use]
    pub fn sharing_with(&self, connection: &ObjectKey) -> Vec<ObjectKey> {
        let entries = self.entries();
        let Some(own) = entries.get(connection) else { return Vec::new() };
        let shares = |entry: &Entry| entry.current && Arc::ptr_eq(&entry.account, &own.account);
        let others = entries.iter().filter(|(key, entry)| *key != connection && shares(entry));
        others.map(|(key, _)| key.clone()).collect()
    }

    /// The connection is gone, or its token is.
    pub fn forget(&self, connection: &ObjectKey) {
        if let Some(entry) = self.entries().get_mut(connection) {
            entry.current = false;
            entry.account.remove_connection(connection);
        }
    }

    /// Every account once.
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
        let make = || Ok::<_, ()>(account(requests_per_minute));
        accounts.get_or_make(&key(namespace), &credentials, requests_per_minute, make).unwrap()
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
        assert_eq!((limit(&a), accounts.sharing_with(&key("a"))), (10, vec![]), "it has another token now");
    }

    #[test]
    fn a_forgotten_account_is_there_for_deletions_and_comes_back_with_its_budget() {
        let accounts = Accounts::default();
        let made = get(&accounts, "a", "t", 1);
        made.acquire_slot(crate::operator::account::request_queue::Priority::Create, &key("a")).unwrap();
        accounts.forget(&key("a"));
        assert!(accounts.get(&key("a")).is_none());
        assert!(Arc::ptr_eq(&accounts.last_known(&key("a")).unwrap(), &made));
        let again = get(&accounts, "a", "t", 1);
        assert_eq!(again.budget(crate::clock::now()).0, 0, "the token's budget is used up as before");
    }
}

//! The keys in a receiver's route Secret. Without a Secret of ours that has them they are random, but always the same:
//! a new one at each reconciliation would make another route, and with it another write, each time.

use crate::linktree::secret::Secret;

/// The keys that a webhook's route has.
#[derive(Clone, Debug, Default)]
pub struct RouteKeys {
    admin_token: Option<Secret>,
    probe_key: Option<Secret>,
}

impl RouteKeys {
    /// The admin token: the stored one, or else the last one.
    pub fn admin_token(&mut self, stored: Option<Secret>) -> Secret {
        latest(&mut self.admin_token, stored)
    }

    /// The probe key: the stored one, or else the last one.
    pub fn probe_key(&mut self, stored: Option<Secret>) -> Secret {
        latest(&mut self.probe_key, stored)
    }
}

fn latest(known: &mut Option<Secret>, stored: Option<Secret>) -> Secret {
    if stored.is_some() {
        *known = stored;
    }
    known.get_or_insert_with(|| Secret::new(hex::encode(rand::random::<[u8; 32]>()))).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_the_same_until_another_is_stored() {
        let mut keys = RouteKeys::default();
        let first = keys.admin_token(None);
        assert_eq!(first.expose().len(), 64);
        assert!(first != keys.probe_key(None) && first == keys.admin_token(None));
        let stored = Secret::new("stored");
        assert_eq!(keys.admin_token(Some(stored.clone())), stored);
        assert_eq!(keys.admin_token(None), stored, "the Secret was deleted");
        assert!(first != RouteKeys::default().admin_token(None));
    }
}

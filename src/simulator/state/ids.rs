//! Generates ids, secrets and the spelling of bodies: random, so that a restarted simulator does not reuse an id; from a seed, so that a run is
//! repeatable.

use rand::{RngCore, SeedableRng, rngs::StdRng};

use crate::linktree::{secret::Secret, wire::SubscriptionId};

#[derive(Debug)]
pub struct Ids {
    ids: StdRng,
    /// Apart, so that the number of bodies does not change the ids of a seed.
    spelling: StdRng,
}

/// Distinguishes the seed of spellings from that of ids.
const SPELLING: u64 = 0x7370_656c_6c69_6e67;

impl Ids {
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Ids { ids: StdRng::seed_from_u64(seed), spelling: StdRng::seed_from_u64(seed ^ SPELLING) }
    }

    /// A seed for the ids after a reset of the state, so that no id is reused.
    pub fn seed(&mut self) -> u64 {
        self.ids.next_u64()
    }

    pub fn subscription(&mut self) -> SubscriptionId {
        SubscriptionId(self.hex("wh_", 8))
    }

    pub fn link(&mut self) -> String {
        self.hex("lnk_", 8)
    }

    pub fn delivery(&mut self) -> String {
        self.hex("dlv_", 12)
    }

    /// A signing secret of 256 bits.
    pub fn signing_secret(&mut self) -> Secret {
        Secret::new(self.hex("whsec_", 32))
    }

    /// The randomness for the spelling of bodies.
    pub fn spelling(&mut self) -> &mut StdRng {
        &mut self.spelling
    }

    fn hex(&mut self, prefix: &str, bytes: usize) -> String {
        let mut random = vec![0; bytes];
        self.ids.fill_bytes(&mut random);
        format!("{prefix}{}", hex::encode(random))
    }
}

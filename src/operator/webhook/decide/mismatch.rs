//! Whether Linktree signs deliveries with a secret that the receiver does not have.

use jiff::Timestamp;

use crate::{
    api::{
        SecretKeyReference,
        condition::{ConditionType, Reason},
    },
    operator::{
        kubernetes::conditions::{self, Finding},
        webhook::{
            observed::Observed,
            spec::{self, Spec},
        },
    },
};

/// After this many consecutive recent deliveries that no signing key verifies, there is a mismatch.
const MISMATCHES: u64 = 3;

/// The finding `SecretMismatch`: the secret was rotated in the dashboard and the new one was not copied into its
/// Secret.
///
/// Linktree's documentation calls this "401 on every delivery". Anyone can send a request with a wrong signature. So
/// only deliveries that arrived while the subscription was enabled count, and callers use the finding only if Linktree
/// reports failures, too. It persists until the keys change or a delivery is verified, even if a restart of the
/// receiver reset its counts.
pub(super) fn mismatch(spec: &Spec, observed: &Observed, disabled_since: Option<Timestamp>) -> Option<Finding> {
    let status = observed.receiver.status.as_ref()?;
    let run = status.unverified_run.as_ref().filter(|run| run.count >= MISMATCHES);
    if let Some(run) = run.filter(|run| disabled_since.is_none_or(|since| run.since <= since.as_second())) {
        let message = format!(
            "no signing key verifies the deliveries since {}: copy the current secret from Linktree's dashboard into {}",
            seconds(run.since),
            place(&current(&spec.keys)),
        );
        return Some(Finding::new(false, Reason::SecretMismatch, message));
    }
    let was_mismatch =
        conditions::has_reason(&observed.status.conditions, ConditionType::SignaturesVerified, Reason::SecretMismatch);
    let persists = was_mismatch && status.last_verified_key.is_none() && !observed.keys_changed;
    persists.then(|| observed.carry_over(ConditionType::SignaturesVerified))
}

/// The Secret key that holds the current signing key.
pub(super) fn current(keys: &spec::Keys) -> SecretKeyReference {
    match keys {
        spec::Keys::Named(keys) if !keys.is_empty() => keys[0].secret.clone(),
        spec::Keys::Named(_) => SecretKeyReference { name: String::new(), key: String::new() },
        spec::Keys::Provider { secret_name } => {
            SecretKeyReference { name: secret_name.clone(), key: spec::SIGNING_SECRET_KEY.to_owned() }
        }
    }
}

/// How messages name a Secret key.
pub(super) fn place(secret: &SecretKeyReference) -> String {
    format!("key {} of Secret {}", secret.key, secret.name)
}

fn seconds(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

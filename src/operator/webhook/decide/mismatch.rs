//! Whether deliveries are signed with a secret that the receiver does not have.

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

/// So many well-formed deliveries in a row that no key verifies are no accident.
const MISMATCHES: u64 = 3;
/// `SecretMismatch` is the page's "401 on every delivery": the secret was rotated in the dashboard and not copied.
/// Anyone can send a badly signed request, so it is concluded only when Linktree too says that its deliveries fail, and
/// only from deliveries that came while it sent some. It stands until the keys change or a delivery is verified, also
/// where the receiver has forgotten it with a restart.
pub(super) fn mismatch(spec: &Spec, observed: &Observed, disabled_since: Option<Timestamp>) -> Option<Finding> {
    let status = observed.receiver.status.as_ref()?;
    let run = status.unverified_run.as_ref().filter(|run| run.count >= MISMATCHES);
    if let Some(run) = run.filter(|run| disabled_since.is_none_or(|since| run.since <= since.as_second())) {
        let message = format!(
            "deliveries since {} are signed with none of the keys: copy the current secret from Linktree's dashboard into {}",
            seconds(run.since),
            place(&current(&spec.keys)),
        );
        return Some(Finding::new(false, Reason::SecretMismatch, message));
    }
    let was =
        conditions::has_reason(&observed.status.conditions, ConditionType::SignaturesVerified, Reason::SecretMismatch);
    let stands = was && status.last_verified_key.is_none() && !observed.keys_changed;
    stands.then(|| observed.carry_over(ConditionType::SignaturesVerified))
}

pub(super) fn current(keys: &spec::Keys) -> SecretKeyReference {
    match keys {
        spec::Keys::Named(keys) if !keys.is_empty() => keys[0].secret.clone(),
        spec::Keys::Named(_) => SecretKeyReference { name: String::new(), key: String::new() },
        spec::Keys::Provider { secret_name } => {
            SecretKeyReference { name: secret_name.clone(), key: spec::SIGNING_SECRET_KEY.to_owned() }
        }
    }
}

pub(super) fn place(secret: &SecretKeyReference) -> String {
    format!("key {} of Secret {}", secret.key, secret.name)
}

fn seconds(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

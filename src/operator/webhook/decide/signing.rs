//! Whether the receiver has signing keys, and whether what comes in is signed with them.

use jiff::Timestamp;

use super::subscription::Subscription;
use crate::{
    api::{
        SecretKeyReference,
        condition::{ConditionType, Reason},
    },
    operator::{
        account::Capabilities,
        conditions::{self, Finding, Status},
        webhook::{
            observed::{Connection, Keys, Observed},
            spec,
        },
    },
};

/// So many well-formed deliveries in a row that no key verifies are no accident.
const MISMATCHES: u64 = 3;

pub(super) fn keys(observed: &Observed) -> Finding {
    match &observed.keys {
        Keys::Found { missing, .. } => found(observed, missing),
        Keys::CurrentMissing(secret) => Finding::new(
            false,
            Reason::SecretMissing,
            format!("put the signing secret from Linktree's dashboard into {}", place(secret)),
        ),
        Keys::ProviderMissing(secret) if asked_in_vain(observed) => Finding::new(
            false,
            Reason::AwaitingProviderSecret,
            format!("Linktree's API does not tell the secret: copy it from the dashboard into {}", place(secret)),
        ),
        Keys::ProviderMissing(_) => {
            Finding::new(false, Reason::Pending, "the signing secret comes with the registration at Linktree")
        }
    }
}

fn found(observed: &Observed, missing: &[SecretKeyReference]) -> Finding {
    let loaded = observed.receiver.status.as_ref().is_some_and(|status| status.route_digest == observed.route_digest);
    let was_loaded =
        conditions::has_reason(&observed.status.conditions, ConditionType::SigningKeysReady, Reason::Loaded);
    if !loaded && !was_loaded {
        return Finding::new(Status::Unknown, Reason::Pending, "the receiver has not read its keys yet");
    }
    let message = match missing {
        [] => "the receiver has its keys".to_owned(),
        missing => {
            let places: Vec<_> = missing.iter().map(place).collect();
            format!("the receiver has the current key; others are missing: {}", places.join(", "))
        }
    };
    Finding::new(true, Reason::Loaded, message)
}

/// Registered, no secret came with it, and Linktree cannot be asked for a new one.
fn asked_in_vain(observed: &Observed) -> bool {
    matches!(
        observed.connection,
        Connection::Listed { capabilities: Capabilities { rotate_unsupported: true, .. }, .. }
    )
}

/// `SecretMismatch` is the page's "401 on every delivery": the secret was rotated in the dashboard and not copied.
/// Anyone can send a badly signed request, so it is concluded only when Linktree too says that its deliveries fail.
pub(super) fn verified(observed: &Observed, subscription: &Subscription, keys: &spec::Keys) -> Finding {
    let Some(status) = &observed.receiver.status else {
        return kept(observed, ConditionType::SignaturesVerified);
    };
    if let Some(run) = &status.unverified_run
        && run.count >= MISMATCHES
        && subscription.failing()
    {
        return Finding::new(
            false,
            Reason::SecretMismatch,
            format!(
                "deliveries since {} are signed with none of the keys: copy the current secret from Linktree's dashboard into {}",
                seconds(run.since),
                place(&current(keys)),
            ),
        );
    }
    match (&status.last_verified_key, &observed.keys) {
        (None, _) => Finding::new(Status::Unknown, Reason::NoTraffic, "no delivery has come yet"),
        (Some(last), Keys::Found { active, .. }) if last != active => Finding::new(
            true,
            Reason::PreviousKeyInUse,
            format!("the last delivery was signed with key {last}, not with the current one, {active}"),
        ),
        (Some(last), _) => {
            Finding::new(true, Reason::Verified, format!("the last delivery was signed with key {last}"))
        }
    }
}

fn current(keys: &spec::Keys) -> SecretKeyReference {
    match keys {
        spec::Keys::Named(keys) if !keys.is_empty() => keys[0].secret.clone(),
        spec::Keys::Named(_) => SecretKeyReference { name: String::new(), key: String::new() },
        spec::Keys::Provider { secret_name } => {
            SecretKeyReference { name: secret_name.clone(), key: spec::SIGNING_SECRET_KEY.to_owned() }
        }
    }
}

/// The finding as it stands in the status: for what cannot be looked at just now.
pub(super) fn kept(observed: &Observed, of: ConditionType) -> Finding {
    let Some(condition) = conditions::find(&observed.status.conditions, of) else {
        return Finding::new(Status::Unknown, Reason::Pending, "not known yet");
    };
    let status = [Status::True, Status::False].into_iter().find(|status| status.as_str() == condition.status);
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
    Finding::new(
        status.unwrap_or(Status::Unknown),
        reason.copied().unwrap_or(Reason::Pending),
        condition.message.clone(),
    )
}

fn place(secret: &SecretKeyReference) -> String {
    format!("key {} of Secret {}", secret.key, secret.name)
}

fn seconds(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

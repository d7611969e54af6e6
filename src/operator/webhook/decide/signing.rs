//! Whether the receiver has signing keys, and whether what comes in is signed with them.

use super::{
    mismatch::{current, mismatch, place},
    subscription::outcome::Subscription,
};
use crate::{
    api::{
        SecretKeyReference,
        condition::{ConditionType, Reason},
        subscription::ManagementPolicy,
    },
    operator::{
        kubernetes::{
            annotations::ROTATE_SECRET,
            conditions::{self, Finding, Status},
        },
        webhook::{
            observed::{Connection, Keys, Observed},
            spec::{self, Endpoint, Spec},
        },
    },
    route::status::ReceiverStatus,
};

/// The id of a delivery is not signed, so somebody may be trying to make an event look like a repetition. The message
/// holds no count: it would change from one look to the next.
const REUSED: &str = "in the last hour deliveries came under an id that another body had before: all were kept, see \
    status.receiver.lastHour.conflict";

pub(super) fn keys(spec: &Spec, observed: &Observed) -> Finding {
    match spec.endpoint {
        Endpoint::Managed(_) => bundled(spec, observed),
        Endpoint::External => external(spec, observed),
    }
}

/// Whether the secret is here for somebody's own receiver. Whether that has it is not known.
fn external(spec: &Spec, observed: &Observed) -> Finding {
    let place = place(&current(&spec.keys));
    let id = observed.subscription_id();
    let of_this = observed.secret_kept_for.is_none() || observed.secret_kept_for == id;
    if of_this && matches!(observed.keys, Keys::Found { .. }) {
        return Finding::new(true, Reason::SecretKept, format!("{place} holds it, for your receiver"));
    }
    if id.is_none() {
        let message = "the signing secret comes with the registration at Linktree";
        return Finding::new(Status::Unknown, Reason::Pending, message);
    }
    let otherwise = if cannot_ask(spec, observed) {
        String::new()
    } else {
        format!("; the annotation {ROTATE_SECRET} has a new one made, and kept in {place}")
    };
    let message =
        format!("Linktree gave no secret with this subscription: your receiver needs the dashboard's{otherwise}");
    Finding::new(Status::Unknown, Reason::SecretUnknown, message)
}

fn bundled(spec: &Spec, observed: &Observed) -> Finding {
    match &observed.keys {
        Keys::Found { missing, expired, .. } => found(spec, observed, missing, expired),
        Keys::Expired => Finding::new(
            false,
            Reason::KeysExpired,
            "the notAfterTime of every key is over: add the current secret to spec.signing.keys",
        ),
        Keys::CurrentMissing(secret) => Finding::new(
            false,
            Reason::SecretMissing,
            format!("put the signing secret from Linktree's dashboard into {}", place(secret)),
        ),
        Keys::ProviderMissing(secret) if cannot_ask(spec, observed) => Finding::new(
            false,
            Reason::AwaitingProviderSecret,
            format!(
                "the secret is not to be had from Linktree's API: copy it from the dashboard into {}",
                place(secret)
            ),
        ),
        Keys::ProviderMissing(_) => {
            Finding::new(false, Reason::Pending, "the signing secret comes with the registration at Linktree")
        }
    }
}

fn found(spec: &Spec, observed: &Observed, missing: &[SecretKeyReference], expired: &[String]) -> Finding {
    let loaded = observed.receiver.status.as_ref().is_some_and(|status| status.route_digest == observed.route_digest);
    let was_loaded =
        conditions::has_reason(&observed.status.conditions, ConditionType::SigningKeysReady, Reason::Loaded);
    if !loaded && !was_loaded {
        return Finding::new(Status::Unknown, Reason::Pending, "the receiver has not read its keys yet");
    }
    let mut message = match missing {
        [] => "the receiver has its keys".to_owned(),
        missing => {
            let places: Vec<_> = missing.iter().map(place).collect();
            format!("the receiver has the current key; others are missing: {}", places.join(", "))
        }
    };
    if !expired.is_empty() {
        message.push_str(&format!("; no longer used, since their time is over: {}", expired.join(", ")));
    }
    if observed.rotate_request.is_some() {
        message.push_str(rotation_refused(spec, observed).unwrap_or_default().as_str());
    }
    Finding::new(true, Reason::Loaded, message)
}

/// Why a person's request for a new secret is not followed.
fn rotation_refused(spec: &Spec, observed: &Observed) -> Option<String> {
    match &spec.keys {
        spec::Keys::Named(_) => Some(
            "; a new secret is asked for, but these are yours: rotate it in the dashboard and name the new one first in spec.signing.keys"
                .to_owned(),
        ),
        spec::Keys::Provider { .. } => cannot_ask(spec, observed).then(|| {
            let place = place(&current(&spec.keys));
            format!("; a new secret is asked for, but cannot be had from Linktree's API: rotate it in the dashboard and copy it into {place}")
        }),
    }
}

/// Linktree cannot be asked for a new secret, or we may not ask.
fn cannot_ask(spec: &Spec, observed: &Observed) -> bool {
    let observes = match spec.policies.management {
        ManagementPolicy::Manage => false,
        ManagementPolicy::Observe => true,
    };
    observes || matches!(&observed.connection, Connection::Listed { capabilities, .. } if capabilities.lacks_rotation())
}

/// Whether what comes in is signed with the keys.
pub(super) fn verified(observed: &Observed, subscription: &Subscription, spec: &Spec) -> Finding {
    let tolerance_seconds = spec.timestamp_tolerance_seconds;
    let Some(status) = &observed.receiver.status else {
        return observed.carry_over(ConditionType::SignaturesVerified);
    };
    let disabled_since = subscription.status.as_ref().and_then(|status| status.disabled_time.as_ref()).map(|at| at.0);
    if let Some(mismatch) = mismatch(spec, observed, disabled_since).filter(|_| subscription.failing()) {
        return mismatch;
    }
    if let Some(finding) = skewed(status, subscription, tolerance_seconds) {
        return finding;
    }
    if status.last_hour.conflict > 0 {
        return Finding::new(true, Reason::DeliveryIDConflict, REUSED);
    }
    match (&status.last_verified_key, &observed.keys) {
        (None, _) => {
            Finding::new(Status::Unknown, Reason::NoTraffic, "no delivery has come yet that these keys verify")
        }
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

/// The deliveries agree that a clock is wrong. As long as they are accepted it is a warning. That they are refused
/// is concluded only when Linktree too says so: anyone may have captured some and send them again late.
fn skewed(status: &ReceiverStatus, subscription: &Subscription, tolerance_seconds: u32) -> Option<Finding> {
    let off = status.clock_offset_seconds?;
    let refused = off.unsigned_abs() > u64::from(tolerance_seconds);
    if refused && !subscription.failing() {
        return None;
    }
    let (by, direction) = (roughly(off.unsigned_abs()), if off > 0 { "ahead of" } else { "behind" });
    let consequence = if refused { ", so they are refused" } else { "" };
    let message = format!(
        "the receiver's clock is more than {by} {direction} the one that signs the deliveries{consequence}: set the clock of its node right",
    );
    Some(Finding::new(!refused, Reason::ClockSkew, message))
}

/// A message holds nothing that changes from one look to the next, so the offset is given as an order of magnitude.
fn roughly(seconds: u64) -> &'static str {
    match seconds {
        0..60 => "half a minute",
        60..300 => "a minute",
        300..3600 => "5 minutes",
        3600..86_400 => "an hour",
        86_400.. => "a day",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(clock_offset_seconds: Option<i64>) -> ReceiverStatus {
        ReceiverStatus { clock_offset_seconds, ..ReceiverStatus::idle(String::new()) }
    }

    fn subscription(failing: bool) -> Subscription {
        let fine = Finding::new(true, Reason::Available, "");
        Subscription {
            status: None,
            registered: fine.clone(),
            up_to_date: fine.clone(),
            enabled: fine.clone(),
            at_risk: Finding { status: failing.into(), ..fine },
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_wrong_clock_is_a_warning_until_linktree_too_says_that_deliveries_fail() {
        for (offset, failing, expected) in [
            (None, true, None),
            (Some(95), false, Some(Status::True)),
            (Some(-95), true, Some(Status::True)),
            (Some(400), false, None),
            (Some(400), true, Some(Status::False)),
            (Some(-86_400), true, Some(Status::False)),
        ] {
            let finding = skewed(&status(offset), &subscription(failing), 300);
            assert_eq!(finding.as_ref().map(|finding| finding.status), expected, "{offset:?} {failing}");
            assert!(finding.is_none_or(|finding| finding.reason == Reason::ClockSkew));
        }
        let message = skewed(&status(Some(-7000)), &subscription(true), 300).unwrap().message;
        assert!(message.starts_with("the receiver's clock is more than an hour behind"), "{message}");
    }
}

//! Findings about signing keys: whether the receiver has them, and whether they verify incoming deliveries.

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

/// Message for delivery ids that arrived again with another body.
///
/// Delivery ids are not signed, so an attacker may try to make an event seem a duplicate. The message contains no
/// count, since it would then change with each reconciliation.
const REUSED: &str = "in the last hour, a delivery id arrived again with another body: all deliveries are stored, see \
    status.receiver.lastHour.conflict";

pub(super) fn keys(spec: &Spec, observed: &Observed) -> Finding {
    match spec.endpoint {
        Endpoint::Managed(_) => bundled(spec, observed),
        Endpoint::External => external(spec, observed),
    }
}

/// Whether the signing secret for an external receiver is stored in the cluster.
///
/// The operator cannot observe whether that receiver uses it.
fn external(spec: &Spec, observed: &Observed) -> Finding {
    let place = place(&current(&spec.keys));
    let id = observed.subscription_id();
    let is_current = observed.secret_kept_for.is_none() || observed.secret_kept_for == id;
    if is_current && matches!(observed.keys, Keys::Found { .. }) {
        return Finding::new(true, Reason::SecretKept, format!("the signing secret is in {place}, for your receiver"));
    }
    if id.is_none() {
        let message = "waiting for the registration at Linktree, which returns the signing secret";
        return Finding::new(Status::Unknown, Reason::Pending, message);
    }
    let alternative = if cannot_rotate(spec, observed) {
        String::new()
    } else {
        format!(", or set the annotation {ROTATE_SECRET} to have a new one created and stored in {place}")
    };
    let message =
        format!("Linktree returned no signing secret: give your receiver the one from the dashboard{alternative}");
    Finding::new(Status::Unknown, Reason::SecretUnknown, message)
}

fn bundled(spec: &Spec, observed: &Observed) -> Finding {
    match &observed.keys {
        Keys::Found { missing, expired, .. } => found(spec, observed, missing, expired),
        Keys::Expired => Finding::new(
            false,
            Reason::KeysExpired,
            "all signing keys have expired (notAfterTime): add the current secret to spec.signing.keys",
        ),
        Keys::CurrentMissing(secret) => Finding::new(
            false,
            Reason::SecretMissing,
            format!("the signing secret is missing: copy it from Linktree's dashboard into {}", place(secret)),
        ),
        Keys::ProviderMissing(secret) if cannot_rotate(spec, observed) => Finding::new(
            false,
            Reason::AwaitingProviderSecret,
            format!(
                "the signing secret cannot be requested from Linktree's API: copy it from the dashboard into {}",
                place(secret)
            ),
        ),
        Keys::ProviderMissing(_) => Finding::new(
            false,
            Reason::Pending,
            "waiting for the registration at Linktree, which returns the signing secret",
        ),
    }
}

fn found(spec: &Spec, observed: &Observed, missing: &[SecretKeyReference], expired: &[String]) -> Finding {
    let loaded = observed.receiver.status.as_ref().is_some_and(|status| status.route_digest == observed.route_digest);
    let was_loaded =
        conditions::has_reason(&observed.status.conditions, ConditionType::SigningKeysReady, Reason::Loaded);
    if !loaded && !was_loaded {
        return Finding::new(Status::Unknown, Reason::Pending, "the receiver has not loaded its signing keys yet");
    }
    let mut message = match missing {
        [] => "the receiver has its signing keys".to_owned(),
        missing => {
            let places: Vec<_> = missing.iter().map(place).collect();
            format!("the receiver has the current signing key; others are missing: {}", places.join(", "))
        }
    };
    if !expired.is_empty() {
        message.push_str(&format!("; expired (notAfterTime) and no longer used: {}", expired.join(", ")));
    }
    if observed.rotate_request.is_some() {
        message.push_str(why_not_rotated(spec, observed).unwrap_or_default().as_str());
    }
    Finding::new(true, Reason::Loaded, message)
}

/// The reason why the operator does not perform a requested rotation, to append to a message; `None` if it can rotate.
fn why_not_rotated(spec: &Spec, observed: &Observed) -> Option<String> {
    match &spec.keys {
        spec::Keys::Named(_) => Some(
            "; the requested rotation is not possible with keys of your own: rotate the secret in the dashboard and put the new one first in spec.signing.keys"
                .to_owned(),
        ),
        spec::Keys::Provider { .. } => cannot_rotate(spec, observed).then(|| {
            let place = place(&current(&spec.keys));
            format!("; the requested rotation is not possible through Linktree's API: rotate the secret in the dashboard and copy it into {place}")
        }),
    }
}

/// Whether the operator cannot rotate the signing secret: Linktree's API does not support it, or `managementPolicy` is
/// `Observe`.
fn cannot_rotate(spec: &Spec, observed: &Observed) -> bool {
    let observes_only = match spec.policies.management {
        ManagementPolicy::Manage => false,
        ManagementPolicy::Observe => true,
    };
    observes_only
        || matches!(&observed.connection, Connection::Listed { capabilities, .. } if capabilities.lacks_rotation())
}

/// The finding for `SignaturesVerified`: whether the signing keys verify incoming deliveries.
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
            Finding::new(Status::Unknown, Reason::NoTraffic, "no delivery signed with these keys has arrived yet")
        }
        (Some(last), Keys::Found { active, .. }) if last != active => Finding::new(
            true,
            Reason::PreviousKeyInUse,
            format!("the last delivery was signed with key {last}, not with the current key {active}"),
        ),
        (Some(last), _) => {
            Finding::new(true, Reason::Verified, format!("the last delivery was signed with key {last}"))
        }
    }
}

/// The finding about a clock skew that the receiver derived from its deliveries' timestamps. While deliveries are still
/// accepted, it is a warning: the condition stays true.
///
/// A skew that makes the receiver reject deliveries counts only if Linktree also reports failures, because anyone can
/// capture deliveries and replay them later.
fn skewed(status: &ReceiverStatus, subscription: &Subscription, tolerance_seconds: u32) -> Option<Finding> {
    let offset = status.clock_offset_seconds?;
    let rejected = offset.unsigned_abs() > u64::from(tolerance_seconds);
    if rejected && !subscription.failing() {
        return None;
    }
    let (by, direction) = (roughly(offset.unsigned_abs()), if offset > 0 { "ahead of" } else { "behind" });
    let consequence = if rejected { ", so they are rejected" } else { "" };
    let message = format!(
        "the receiver's clock is more than {by} {direction} the clock that signs the deliveries{consequence}: correct the clock of its node",
    );
    Some(Finding::new(!rejected, Reason::ClockSkew, message))
}

/// The order of magnitude of a clock offset.
///
/// The exact value would change the message with each reconciliation.
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
        let holds = Finding::new(true, Reason::Available, "");
        Subscription {
            status: None,
            registered: holds.clone(),
            up_to_date: holds.clone(),
            enabled: holds.clone(),
            at_risk: Finding { status: failing.into(), ..holds },
            steps: Vec::new(),
        }
    }

    #[test]
    fn clock_skew_is_a_warning_until_linktree_reports_failed_deliveries() {
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

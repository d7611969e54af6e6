//! Reads and writes the Lease object. Each write carries the resourceVersion of the Lease that its decision was based
//! on, so that of two concurrent candidates' writes the API server rejects one.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::api::PostParams;

use super::rules::{LEASE_DURATION, Record};
use crate::operator::kubernetes::{
    field_manager::SOFTWARE,
    guarded::{Guarded, GuardedApi},
};

impl Record {
    /// Reads the fields of a Lease. If it has no `leaseDurationSeconds`, our own default applies.
    pub(super) fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Record {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            duration: seconds.map_or(LEASE_DURATION, Duration::from_secs),
            renewed: spec.renew_time.map(|MicroTime(at)| at.to_string()),
        }
    }
}

/// Writes the Lease with `identity` as its holder; an empty `identity` releases it. Replaces `found`, the Lease as last
/// read, or creates it if there was none.
///
/// # Errors
/// 409 if another process has written the Lease since `found` was read.
pub(super) async fn write(
    api: &GuardedApi<Lease>,
    name: &str,
    identity: &str,
    found: Option<Lease>,
    now: Timestamp,
) -> Result<Lease, kube::Error> {
    let params = PostParams { field_manager: Some(SOFTWARE.to_owned()), ..PostParams::default() };
    match found {
        Some(mut lease) => {
            lease.spec = Some(claimed(lease.spec.unwrap_or_default(), identity, now));
            api.replace(name, &params, &lease.into()).await.map(Guarded::into_inner)
        }
        None => {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let spec = Some(claimed(LeaseSpec::default(), identity, now));
            api.create(&params, &Lease { metadata, spec }.into()).await.map(Guarded::into_inner)
        }
    }
}

/// The spec of a Lease after `identity` acquires, renews or (if it is empty) releases it.
fn claimed(before: LeaseSpec, identity: &str, now: Timestamp) -> LeaseSpec {
    let same = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.unwrap_or(0);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        acquire_time: if same { before.acquire_time } else { Some(MicroTime(now)) },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if same || identity.is_empty() { transitions } else { transitions.saturating_add(1) }),
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_keeps_acquire_time_and_transitions_and_a_new_leader_changes_them() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = claimed(LeaseSpec::default(), "a", at(1));
        let renewed = claimed(first.clone(), "a", at(3));
        assert_eq!((&renewed.acquire_time, &renewed.renew_time), (&first.acquire_time, &Some(MicroTime(at(3)))));
        let released = claimed(renewed.clone(), "", at(4));
        assert_eq!(released.lease_transitions, renewed.lease_transitions);
        let next = claimed(released, "b", at(5));
        assert_eq!((next.lease_transitions, &next.acquire_time), (Some(2), &Some(MicroTime(at(5)))));
        let record = Record::of(&Lease { spec: Some(next), ..Lease::default() });
        assert_eq!((record.holder.as_deref(), record.duration), (Some("b"), LEASE_DURATION));
    }
}

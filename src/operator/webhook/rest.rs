//! The fingerprint of a settled webhook, which is one with all conditions as desired and an up-to-date status. While
//! its fingerprint matches the current inputs, a reconciliation would be a no-op, and is skipped. Pure.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use jiff::Timestamp;
use kube::core::ObjectMeta;

use super::{
    challenge::Challenge,
    observed::{Connection, Observed},
    plan::Plan,
    spec::{Spec, sink::Address},
};
use crate::{
    api::{condition::Reason, webhook::LinktreeWebhook},
    linktree::{
        secret::Secret,
        wire::{Subscription, SubscriptionId},
    },
    operator::{
        account::{Snapshot, capabilities::Capabilities},
        kubernetes::digest::digest,
        watch::observed_versions::Version,
    },
    route::status::ReceiverStatus,
};

/// The fingerprint of a settled webhook: the inputs of the reconciliation that found nothing to do.
#[derive(Clone, Debug)]
pub struct Rest {
    /// The resourceVersion of the webhook after the reconciliation's own status write.
    version: Version,
    account: Account,
    /// The bundled receiver's part; `None` for an external receiver.
    pub receiver: Option<Receiver>,
    ends: Timestamp,
}

/// The part of the fingerprint that a poll of the bundled receiver compares.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Where the poll reads the receiver's status.
    pub address: IpAddr,
    pub admin_token: Secret,
    /// The proof that a probe of the URL must get.
    pub challenge: Challenge,
    status: u64,
}

/// The part of the fingerprint about the account: the subscription in the webhook's status, and the connection.
#[derive(Clone, Debug)]
struct Account {
    subscription: u64,
    /// The last snapshot that the subscription was compared in, stored only to recognize that snapshot.
    snapshot: Weak<Snapshot>,
    in_cluster: bool,
    capabilities: Capabilities,
    not_ready: Option<(Reason, String)>,
    /// The digest of the connection's token, which the status has as well.
    token: Arc<str>,
}

/// The current inputs of a webhook's reconciliation, to compare with its fingerprint.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The version of the webhook that its watch last reported.
    pub version: Version,
    pub subscription: Option<SubscriptionId>,
    /// Whether no watch has reported a change of the webhook's objects since they were read, and all these watches are
    /// reliable.
    pub objects_unchanged: bool,
    pub connection: Connection,
    pub now: Timestamp,
}

impl Rest {
    /// The fingerprint after a reconciliation; `None` if the webhook is not settled. It expires at `ends`, or earlier
    /// with a signing key.
    #[must_use]
    pub fn after(
        spec: &Spec,
        observed: &Observed,
        admin_token: &Secret,
        plan: &Plan,
        version: Version,
        ends: Timestamp,
    ) -> Option<Self> {
        let Connection::Listed { snapshot, in_cluster, capabilities, not_ready, token } = &observed.connection else {
            return None;
        };
        // No watch reports changes of the objects that these sinks refer to.
        let unwatched = spec.sinks.iter().any(|sink| matches!(sink.address, Address::Addressable(_)));
        let held = observed.hold_until.is_some();
        if !plan.rests || unwatched || held {
            return None;
        }
        let id = SubscriptionId(plan.subscription.as_ref()?.id.clone()?);
        let account = Account {
            subscription: subscription(snapshot, &id)?,
            snapshot: Arc::downgrade(snapshot),
            in_cluster: *in_cluster,
            capabilities: *capabilities,
            not_ready: not_ready.clone(),
            token: Arc::clone(token),
        };
        Some(Rest {
            version,
            account,
            receiver: if spec.is_external() { None } else { Some(Receiver::of(observed, admin_token)?) },
            // The expiry of a signing key changes the route.
            ends: observed.next_key_end.map_or(ends, |end| ends.min(end)),
        })
    }

    /// The same fingerprint for another version of the webhook, the one that our status write returned.
    #[must_use]
    pub fn left_at(self, version: Version) -> Self {
        Rest { version, ..self }
    }

    /// Whether the current inputs match the fingerprint. The receiver's status is polled and compared after that.
    #[must_use]
    pub fn lasts(&self, current: &Surroundings) -> bool {
        let Surroundings { version, subscription, objects_unchanged, connection, now } = current;
        *version == self.version
            && *objects_unchanged
            && *now < self.ends
            && subscription.as_ref().is_some_and(|id| self.account.is_unchanged(id, connection))
    }

    /// The time until the fingerprint expires.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.ends.duration_since(now)).unwrap_or_default()
    }

    /// The same fingerprint with the account's current snapshot; `None` if it has that snapshot already.
    #[must_use]
    pub fn seen_in(&self, connection: &Connection) -> Option<Self> {
        let Connection::Listed { snapshot, .. } = connection else { return None };
        let newer = Arc::downgrade(snapshot);
        (!newer.ptr_eq(&self.account.snapshot))
            .then(|| Rest { account: Account { snapshot: newer, ..self.account.clone() }, ..self.clone() })
    }
}

impl Receiver {
    fn of(observed: &Observed, admin_token: &Secret) -> Option<Self> {
        Some(Receiver {
            address: observed.receiver.pod.as_ref()?.address?,
            admin_token: admin_token.clone(),
            challenge: observed.challenge.clone()?,
            status: digest(observed.receiver.status.as_ref()?),
        })
    }

    /// Whether the receiver reports the same status as when the fingerprint was taken.
    #[must_use]
    pub fn says_the_same(&self, status: &ReceiverStatus) -> bool {
        digest(status) == self.status
    }
}

impl Account {
    fn is_unchanged(&self, id: &SubscriptionId, connection: &Connection) -> bool {
        let Connection::Listed { snapshot, in_cluster, capabilities, not_ready, token } = connection else {
            return false;
        };
        *in_cluster == self.in_cluster
            && *not_ready == self.not_ready
            && *capabilities == self.capabilities
            && *token == self.token
            // Searching a large account takes long, so a snapshot that was searched before is not searched again.
            && (Arc::downgrade(snapshot).ptr_eq(&self.snapshot)
                || subscription(snapshot, id) == Some(self.subscription))
    }
}

/// Whether only the status of a webhook has changed between our read and our status write. The version that the write
/// returned includes a change by another client in between, which was not reconciled.
#[must_use]
pub fn is_as_read(read: &LinktreeWebhook, written: &LinktreeWebhook) -> bool {
    let without_version = |webhook: &LinktreeWebhook| ObjectMeta {
        resource_version: None,
        managed_fields: None,
        ..webhook.metadata.clone()
    };
    without_version(read) == without_version(written)
}

/// The digest of a subscription in a snapshot; `None` if the snapshot lacks it.
fn subscription(snapshot: &Snapshot, id: &SubscriptionId) -> Option<u64> {
    let known = snapshot.subscriptions.iter().find(|known| known.id == *id)?;
    let Subscription {
        id,
        url,
        events,
        status,
        created_at,
        failing_since,
        disabled_at,
        disabled_reason,
        // The response to a list never contains it.
        signing_secret: _,
    } = known;
    Some(digest(&(id, url, events, status, created_at, failing_since, disabled_at, disabled_reason)))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::{
        api::connection::Capability,
        operator::{
            account::capabilities::Call,
            kubernetes::apply::standing::Standing,
            webhook::{
                decide::{decide, tests::settled},
                observed::{Child, ProbeResult},
                spec::tests::webhook,
            },
        },
    };

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn version(resource_version: &str) -> Version {
        Version::of(&webhook(|object| object["metadata"]["resourceVersion"] = resource_version.into()))
    }

    fn healthy() -> Observed {
        let mut observed = settled();
        observed.receiver.pod.as_mut().unwrap().address = Some([127, 0, 0, 1].into());
        observed
    }

    fn after(observed: &Observed, edit: impl FnOnce(&mut serde_json::Value)) -> Option<Rest> {
        let spec = Spec::parse(&webhook(edit)).unwrap();
        let plan = decide(&spec, observed, NOW);
        let ends = NOW.saturating_add(SignedDuration::from_secs(600)).unwrap();
        Rest::after(&spec, observed, &Secret::new("admin"), &plan, version("1"), ends)
    }

    fn surroundings() -> Surroundings {
        let mut connection = healthy().connection;
        let subscription = Some(listed(&mut connection).0.subscriptions[0].id.clone());
        Surroundings { version: version("1"), subscription, objects_unchanged: true, connection, now: NOW }
    }

    /// The mutable parts of a listed connection.
    fn listed(connection: &mut Connection) -> (&mut Snapshot, &mut bool, &mut Capabilities) {
        let Connection::Listed { snapshot, in_cluster, capabilities, .. } = connection else { panic!("not listed") };
        (Arc::make_mut(snapshot), in_cluster, capabilities)
    }

    #[test]
    fn a_webhook_is_settled_if_another_reconciliation_would_be_a_no_op() {
        type Change = fn(&mut Observed);
        let cases: [(&str, Change, bool); 7] = [
            ("all conditions are as desired", |_| {}, true),
            ("a child must be applied", |it| drop(it.children.insert(Child::Service, Standing::missing())), false),
            ("a probe failed", |it| it.probe = ProbeResult::NotProbed, false),
            ("the receiver does not respond", |it| it.receiver.status = None, false),
            ("a hold after a failed call", |it| it.hold_until = Some(NOW), false),
            ("the account was not listed", |it| it.connection = Connection::Unlisted, false),
            (
                "deliveries fail, and Linktree will disable the subscription",
                |it| listed(&mut it.connection).0.subscriptions[0].failing_since = Some(NOW.as_second() - 60),
                false,
            ),
        ];
        for (case, change, settled) in cases {
            let mut observed = healthy();
            change(&mut observed);
            assert_eq!(after(&observed, |_| {}).is_some(), settled, "{case}");
        }
        let mut theirs = healthy();
        theirs.receiver = super::super::observed::Receiver::default();
        theirs.probe = ProbeResult::Foreign { status: 401, problem: String::new(), certificate_expires: None };
        listed(&mut theirs.connection).0.subscriptions[0].url = "https://hooks.example.com/in".into();
        let external = |object: &mut serde_json::Value| {
            object["spec"]["endpoint"] =
                json!({"type": "External", "external": {"url": "https://hooks.example.com/in"}});
            object["spec"]["sinks"] = json!([]);
        };
        assert!(after(&theirs, external).unwrap().receiver.is_none(), "an external receiver is not polled");
        let reference = json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"});
        let addressable = json!([{"name": "broker", "addressable": {"ref": reference}}]);
        assert!(
            after(&healthy(), |object| object["spec"]["sinks"] = addressable).is_none(),
            "a sink's address is not watched"
        );
    }

    #[test]
    fn a_change_during_a_reconciliation_is_detected() {
        type Change = fn(&mut serde_json::Value);
        let cases: [(&str, Change, bool); 4] = [
            ("only its status was written", |it| it["metadata"]["resourceVersion"] = "2".into(), true),
            ("its spec was changed", |it| it["metadata"]["generation"] = 2.into(), false),
            ("it was deleted", |it| it["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z".into(), false),
            ("it was annotated", |it| it["metadata"]["annotations"] = json!({"a": "b"}), false),
        ];
        for (case, change, as_read) in cases {
            let read = webhook(|object| object["metadata"]["resourceVersion"] = "1".into());
            assert_eq!(is_as_read(&read, &webhook(change)), as_read, "{case}");
        }
    }

    #[test]
    fn a_change_of_any_input_invalidates_the_fingerprint() {
        type Change = fn(&mut Surroundings);
        let cases: [(&str, Change, bool); 14] = [
            (
                "whether the connection is ready",
                |it| {
                    if let Connection::Listed { not_ready, .. } = &mut it.connection {
                        *not_ready = Some((Reason::Rejected, String::new()));
                    }
                },
                false,
            ),
            ("nothing", |_| {}, true),
            ("the webhook", |it| it.version = version("2"), false),
            ("the subscription in its status", |it| it.subscription = None, false),
            ("the watch lags behind our own write", |it| it.version = version("0"), false),
            ("one of its objects", |it| it.objects_unchanged = false, false),
            ("it has expired", |it| it.now += SignedDuration::from_secs(600), false),
            ("the connection cannot be used", |it| it.connection = Connection::Unlisted, false),
            ("a list without changes", |it| listed(&mut it.connection).0.listed_at = NOW, true),
            (
                "another subscription",
                |it| {
                    let (snapshot, ..) = listed(&mut it.connection);
                    let other = Subscription { id: SubscriptionId("wh_2".into()), ..snapshot.subscriptions[0].clone() };
                    snapshot.subscriptions.push(other);
                },
                true,
            ),
            ("its own subscription", |it| listed(&mut it.connection).0.subscriptions[0].events.clear(), false),
            ("its own subscription is deleted", |it| listed(&mut it.connection).0.subscriptions.clear(), false),
            ("whether Linktree is in the cluster", |it| *listed(&mut it.connection).1 ^= true, false),
            ("the capabilities", |it| listed(&mut it.connection).2.set(Call::List, Capability::Unsupported), false),
        ];
        let observed = healthy();
        let rest = after(&observed, |_| {}).unwrap();
        for (case, change, matches) in cases {
            let mut current = surroundings();
            change(&mut current);
            assert_eq!(rest.lasts(&current), matches, "changed: {case}");
        }
        let mut ending = healthy();
        ending.next_key_end = Some(NOW + SignedDuration::from_secs(7));
        assert_eq!(after(&ending, |_| {}).unwrap().left(NOW), Duration::from_secs(7), "a key expires");
        let newer = rest.seen_in(&surroundings().connection).unwrap();
        assert!(newer.lasts(&surroundings()));
        assert!(rest.seen_in(&observed.connection).is_none(), "it has this snapshot already");
    }

    #[test]
    fn the_receivers_status_is_compared_and_its_token_is_never_shown() {
        let observed = healthy();
        let rest = after(&observed, |_| {}).unwrap();
        let mut status = observed.receiver.status.unwrap();
        let receiver = rest.receiver.as_ref().unwrap();
        assert!(receiver.says_the_same(&status));
        status.backlog = Some(1);
        assert!(!receiver.says_the_same(&status));
        assert!(!format!("{rest:?}").contains("admin\""));
        assert!(rest.left_at(version("2")).lasts(&Surroundings { version: version("2"), ..surroundings() }));
    }
}

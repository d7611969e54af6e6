//! A webhook at rest: all its conditions are as they should be, nothing is to be done, and the status says so. As long as
//! nothing of what that was concluded from has changed, a look would conclude the same, and is spared. Pure.

use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use jiff::Timestamp;
use kube::core::ObjectMeta;

use super::{
    observed::{Connection, Observed},
    plan::Plan,
    spec::{Spec, sink::Address},
};
use crate::{
    api::webhook::LinktreeWebhook,
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

/// What a look found that left nothing to do.
#[derive(Clone, Debug)]
pub struct Rest {
    /// The webhook as the look left it, its own last write included.
    version: Version,
    account: Account,
    /// The bundled one; `None` where it is the user's own.
    pub receiver: Option<Receiver>,
    ends: Timestamp,
}

/// What the bundled receiver said.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Where it is asked, and with what.
    pub address: IpAddr,
    pub admin_token: Secret,
    status: u64,
}

/// What a connection shows of a webhook's subscription, which is the one that its status names.
#[derive(Clone, Debug)]
struct Account {
    subscription: u64,
    /// The snapshot it was last seen in, held only to be told from others.
    snapshot: Weak<Snapshot>,
    in_cluster: bool,
    capabilities: Capabilities,
}

/// What else a rest depends on, as it is now.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The webhook as its watch last showed it, and the subscription that its status names.
    pub version: Version,
    pub subscription: Option<SubscriptionId>,
    /// Nothing was told of its objects that was not read, and all watches work.
    pub objects_unchanged: bool,
    pub connection: Connection,
    pub now: Timestamp,
}

impl Rest {
    /// What a webhook may rest on after a look, if it may, until `ends` at the latest.
    #[must_use]
    pub fn after(
        spec: &Spec,
        observed: &Observed,
        admin_token: &Secret,
        plan: &Plan,
        version: Version,
        ends: Timestamp,
    ) -> Option<Self> {
        let Connection::Listed { snapshot, in_cluster, capabilities } = &observed.connection else { return None };
        // Nobody watches what these refer to.
        let follows = spec.sinks.iter().any(|sink| matches!(sink.address, Address::Addressable(_)));
        let held = observed.hold_until.is_some();
        if !plan.rests || follows || held {
            return None;
        }
        let id = SubscriptionId(plan.subscription.as_ref()?.id.clone()?);
        let account = Account {
            subscription: subscription(snapshot, &id)?,
            snapshot: Arc::downgrade(snapshot),
            in_cluster: *in_cluster,
            capabilities: *capabilities,
        };
        Some(Rest {
            version,
            account,
            receiver: if spec.is_external() { None } else { Some(Receiver::of(observed, admin_token)?) },
            // A signing key that ends then leaves the route.
            ends: observed.next_key_end.map_or(ends, |end| ends.min(end)),
        })
    }

    /// The same, where the look's own last write has made another version of the webhook.
    #[must_use]
    pub fn left_at(self, version: Version) -> Self {
        Rest { version, ..self }
    }

    /// Whether it goes on; the receiver's own word is asked for after that.
    #[must_use]
    pub fn lasts(&self, around: &Surroundings) -> bool {
        let Surroundings { version, subscription, objects_unchanged, connection, now } = around;
        *version == self.version
            && *objects_unchanged
            && *now < self.ends
            && subscription.as_ref().is_some_and(|id| self.account.is_as_seen(id, connection))
    }

    /// How long it still goes on if nothing changes.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.ends.duration_since(now)).unwrap_or_default()
    }

    /// The same, seen in another snapshot of the account; `None` if it was seen in this one already.
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
            status: digest(observed.receiver.status.as_ref()?),
        })
    }

    /// Whether it says what it said then.
    #[must_use]
    pub fn says_the_same(&self, status: &ReceiverStatus) -> bool {
        digest(status) == self.status
    }
}

impl Account {
    fn is_as_seen(&self, id: &SubscriptionId, connection: &Connection) -> bool {
        let Connection::Listed { snapshot, in_cluster, capabilities } = connection else { return false };
        *in_cluster == self.in_cluster
            && *capabilities == self.capabilities
            // The search is long in a large account, and done once per snapshot.
            && (Arc::downgrade(snapshot).ptr_eq(&self.snapshot)
                || subscription(snapshot, id) == Some(self.subscription))
    }
}

/// Whether nothing but the status of a webhook was written since it was read. What somebody else changed meanwhile has the
/// version that our own write left, and yet was not looked at.
#[must_use]
pub fn is_as_read(read: &LinktreeWebhook, written: &LinktreeWebhook) -> bool {
    let without_version = |webhook: &LinktreeWebhook| ObjectMeta {
        resource_version: None,
        managed_fields: None,
        ..webhook.metadata.clone()
    };
    without_version(read) == without_version(written)
}

/// What the account says of a subscription, as a digest.
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
        // Never part of what is listed.
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
            webhook::{
                decide::{decide, tests::settled},
                observed::ProbeResult,
                spec::tests::webhook,
            },
        },
    };

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn version(resource_version: &str) -> Version {
        Version::of(&webhook(|object| object["metadata"]["resourceVersion"] = resource_version.into()))
    }

    fn well() -> Observed {
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
        let mut connection = well().connection;
        let subscription = Some(listed(&mut connection).0.subscriptions[0].id.clone());
        Surroundings { version: version("1"), subscription, objects_unchanged: true, connection, now: NOW }
    }

    /// The snapshot of a connection, to be changed; and the rest of it.
    fn listed(connection: &mut Connection) -> (&mut Snapshot, &mut bool, &mut Capabilities) {
        let Connection::Listed { snapshot, in_cluster, capabilities } = connection else { panic!("not listed") };
        (Arc::make_mut(snapshot), in_cluster, capabilities)
    }

    #[test]
    fn a_webhook_rests_if_a_look_would_conclude_the_same_again() {
        type Change = fn(&mut Observed);
        let cases: [(&str, Change, bool); 7] = [
            ("all is well", |_| {}, true),
            ("a child is to be applied", |it| it.children_outdated.push(super::super::observed::Child::Service), false),
            ("a probe failed", |it| it.probe = ProbeResult::NotProbed, false),
            ("the receiver does not tell", |it| it.receiver.status = None, false),
            ("a failed call is not over", |it| it.hold_until = Some(NOW), false),
            ("the account is not known", |it| it.connection = Connection::Unlisted, false),
            (
                "deliveries fail, and a deadline comes nearer",
                |it| listed(&mut it.connection).0.subscriptions[0].failing_since = Some(NOW.as_second() - 60),
                false,
            ),
        ];
        for (case, change, rests) in cases {
            let mut observed = well();
            change(&mut observed);
            assert_eq!(after(&observed, |_| {}).is_some(), rests, "{case}");
        }
        let mut theirs = well();
        theirs.receiver = super::super::observed::Receiver::default();
        theirs.probe = ProbeResult::Foreign { status: 401, problem: String::new(), certificate_expires: None };
        listed(&mut theirs.connection).0.subscriptions[0].url = "https://hooks.example.com/in".into();
        let external = |object: &mut serde_json::Value| {
            object["spec"]["endpoint"] =
                json!({"type": "External", "external": {"url": "https://hooks.example.com/in"}});
            object["spec"]["sinks"] = json!([]);
        };
        assert!(after(&theirs, external).unwrap().receiver.is_none(), "somebody's own receiver is not asked");
        let reference = json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"});
        let follows = json!([{"name": "broker", "addressable": {"ref": reference}}]);
        assert!(
            after(&well(), |object| object["spec"]["sinks"] = follows).is_none(),
            "nobody watches a sink's address"
        );
    }

    #[test]
    fn a_webhook_that_was_changed_during_a_look_is_not_left_alone_with_it() {
        type Change = fn(&mut serde_json::Value);
        let cases: [(&str, Change, bool); 4] = [
            ("only its status was written", |it| it["metadata"]["resourceVersion"] = "2".into(), true),
            ("its spec was changed", |it| it["metadata"]["generation"] = 2.into(), false),
            ("it was deleted", |it| it["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z".into(), false),
            ("something was asked for", |it| it["metadata"]["annotations"] = json!({"a": "b"}), false),
        ];
        for (case, change, as_read) in cases {
            let read = webhook(|object| object["metadata"]["resourceVersion"] = "1".into());
            assert_eq!(is_as_read(&read, &webhook(change)), as_read, "{case}");
        }
    }

    #[test]
    fn each_change_of_what_it_rests_on_ends_it() {
        type Change = fn(&mut Surroundings);
        let cases: [(&str, Change, bool); 13] = [
            ("nothing", |_| {}, true),
            ("the webhook", |it| it.version = version("2"), false),
            ("what its status names", |it| it.subscription = None, false),
            ("the watch lags behind our own write", |it| it.version = version("0"), false),
            ("an object of its", |it| it.objects_unchanged = false, false),
            ("the time is up", |it| it.now += SignedDuration::from_secs(600), false),
            ("the connection cannot be used", |it| it.connection = Connection::Unlisted, false),
            ("a new list says the same", |it| listed(&mut it.connection).0.listed_at = NOW, true),
            (
                "a subscription of another",
                |it| {
                    let (snapshot, ..) = listed(&mut it.connection);
                    let other = Subscription { id: SubscriptionId("wh_2".into()), ..snapshot.subscriptions[0].clone() };
                    snapshot.subscriptions.push(other);
                },
                true,
            ),
            ("its own one", |it| listed(&mut it.connection).0.subscriptions[0].events.clear(), false),
            ("its own one is gone", |it| listed(&mut it.connection).0.subscriptions.clear(), false),
            ("where Linktree is", |it| *listed(&mut it.connection).1 ^= true, false),
            ("what Linktree offers", |it| listed(&mut it.connection).2.set(Call::List, Capability::Unsupported), false),
        ];
        let observed = well();
        let rest = after(&observed, |_| {}).unwrap();
        for (case, change, lasts) in cases {
            let mut around = surroundings();
            change(&mut around);
            assert_eq!(rest.lasts(&around), lasts, "{case} has changed");
        }
        let mut ending = well();
        ending.next_key_end = Some(NOW + SignedDuration::from_secs(7));
        assert_eq!(after(&ending, |_| {}).unwrap().left(NOW), Duration::from_secs(7), "a key ends");
        let newer = rest.seen_in(&surroundings().connection).unwrap();
        assert!(newer.lasts(&surroundings()));
        assert!(rest.seen_in(&observed.connection).is_none(), "it was seen in this one");
    }

    #[test]
    fn what_the_receiver_says_is_compared_and_its_token_never_shown() {
        let observed = well();
        let rest = after(&observed, |_| {}).unwrap();
        let mut status = observed.receiver.status.unwrap();
        let receiver = rest.receiver.as_ref().unwrap();
        assert!(receiver.says_the_same(&status));
        status.backlog += 1;
        assert!(!receiver.says_the_same(&status));
        assert!(!format!("{rest:?}").contains("admin\""));
        assert!(rest.left_at(version("2")).lasts(&Surroundings { version: version("2"), ..surroundings() }));
    }
}

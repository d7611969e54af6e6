//! What the looks at a webhook read of its objects, and what the watches have told of them since, both as versions. An
//! object of which nothing else was told than what was read need not be read again. No IO.
//!
//! Only equality counts. A watch that lags behind tells an older version, which is another one: the object is read once
//! more, never once too few.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use kube::Resource;

use crate::operator::kubernetes::{digest::digest, object_key::ObjectKey};

/// How many kinds there may be.
const KINDS: usize = 1 << Object::KIND.count_ones();
const _: () = assert!(Kind::StatefulSet.index() < KINDS, "the last kind has its bits");

/// The kinds that are watched for webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    HttpRoute,
    Ingress,
    LinktreeConnection,
    LinktreeWebhook,
    NetworkPolicy,
    Pod,
    Secret,
    Service,
    ServiceAccount,
    StatefulSet,
}

impl Kind {
    /// Where it is in a table of all kinds.
    const fn index(self) -> usize {
        self as usize
    }
}

/// An object: a digest of its namespace and name, the last bits of which give way to its kind. There are many times ten
/// thousand, so all that is kept of one takes 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object(u64);

impl Object {
    const KIND: u64 = 0xf;

    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Object(digest(&(namespace, name)) & !Self::KIND | kind.index() as u64)
    }

    /// The index of its kind.
    const fn kind(self) -> usize {
        (self.0 & Self::KIND) as usize
    }
}

/// A resource version as a digest, or that there is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(NonZeroU64);

impl Version {
    pub const ABSENT: Version = Version(NonZeroU64::MIN);

    #[must_use]
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        let digest = digest(&(&meta.uid, &meta.resource_version));
        // A digest that happens to be that of no object is another one.
        NonZeroU64::new(digest).filter(|digest| *digest != NonZeroU64::MIN).map_or(Version(NonZeroU64::MAX), Version)
    }

    /// As [`Version::of`], of what a read by name returned.
    #[must_use]
    pub fn of_found<K: Resource>(found: Option<&K>) -> Self {
        found.map_or(Version::ABSENT, Version::of)
    }
}

/// One object of one webhook.
#[derive(Clone, Copy, Debug)]
struct Slot {
    object: Object,
    /// What a look last read; `None` where that is not believed any more.
    read: Option<Version>,
    /// What was asked of the object then, and met.
    met: u64,
    /// What a watch last watched, since the webhook was first looked at.
    watched: Option<Version>,
}

impl Slot {
    fn is_as_read(&self) -> bool {
        self.read.is_some() && (self.watched.is_none() || self.watched == self.read)
    }
}

/// How long a watch that failed is not relied on. One that goes on failing does so again before that.
const UNRELIABLE_FOR: SignedDuration = SignedDuration::from_secs(90);

/// For each webhook its objects, and for each kind whether its watch can be relied on.
#[derive(Debug, Default)]
pub struct ObservedVersions {
    slots: Mutex<HashMap<Arc<ObjectKey>, Vec<Slot>>>,
    /// By the index of their kind.
    watches: Mutex<[Watch; KINDS]>,
}

/// How a watch stands.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// It has listed all there is once.
    listed: bool,
    failed_at: Option<Timestamp>,
}

impl Watch {
    fn is_relied_on(&self, now: Timestamp) -> bool {
        self.listed && self.failed_at.is_none_or(|failed_at| now.duration_since(failed_at).abs() > UNRELIABLE_FOR)
    }
}

impl ObservedVersions {
    /// Nothing of a webhook's objects is known any more.
    pub fn mark_stale(&self, webhook: &Arc<ObjectKey>) {
        self.versions().insert(Arc::clone(webhook), Vec::new());
    }

    pub fn forget(&self, webhook: &ObjectKey) {
        self.versions().remove(webhook);
    }

    /// A look is about to read this object: what watches tell of it from here on counts.
    pub fn begin_read(&self, webhook: &ObjectKey, object: Object) {
        self.with(webhook, |slots| slot(slots, object).read = None);
    }

    /// It has read this version, which meets what `met` is the digest of.
    pub fn record_read(&self, webhook: &ObjectKey, object: Object, version: Version, met: u64) {
        self.with(webhook, |slots| {
            let slot = slot(slots, object);
            (slot.read, slot.met) = (Some(version), met);
        });
    }

    /// A watch has told this version.
    pub fn on_event(&self, webhook: &ObjectKey, object: Object, version: Version) {
        self.with(webhook, |slots| {
            if let Some(slot) = slots.iter_mut().find(|slot| slot.object == object) {
                slot.watched = Some(version);
            }
        });
    }

    /// A watch has begun anew and listed all there is of a kind: what is not among it is gone.
    pub fn on_relist(&self, kind: Kind, listed: &HashSet<Object>) {
        let mut versions = self.versions();
        let of_kind = versions.values_mut().flatten().filter(|slot| slot.object.kind() == kind.index());
        for slot in of_kind.filter(|slot| !listed.contains(&slot.object)) {
            slot.watched = Some(Version::ABSENT);
        }
        drop(versions);
        self.watches()[kind.index()].listed = true;
    }

    /// A watch failed, and is begun again.
    pub fn watch_failed(&self, kind: Kind, now: Timestamp) {
        self.watches()[kind.index()].failed_at = Some(now);
    }

    /// Whether this object is still as it was read, and met the same then.
    #[must_use]
    pub fn still_meets(&self, webhook: &ObjectKey, object: Object, asked: u64) -> bool {
        let versions = self.versions();
        let slots = versions.get(webhook).map(Vec::as_slice).unwrap_or_default();
        slots.iter().any(|slot| slot.object == object && slot.is_as_read() && slot.met == asked)
    }

    /// Whether all of a webhook's objects are as they were read, and the watches that would tell otherwise can be relied
    /// on, the webhook's own among them.
    #[must_use]
    pub fn all_current(&self, webhook: &ObjectKey, now: Timestamp) -> bool {
        let versions = self.versions();
        let Some(slots) = versions.get(webhook) else { return false };
        let watches = self.watches();
        let relied_on = |kind: usize| watches[kind].is_relied_on(now);
        relied_on(Kind::LinktreeWebhook.index())
            && slots.iter().all(|slot| slot.is_as_read() && relied_on(slot.object.kind()))
    }

    fn with(&self, webhook: &ObjectKey, change: impl FnOnce(&mut Vec<Slot>)) {
        if let Some(slots) = self.versions().get_mut(webhook) {
            change(slots);
        }
    }

    fn versions(&self) -> MutexGuard<'_, HashMap<Arc<ObjectKey>, Vec<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, [Watch; KINDS]> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(slots: &mut Vec<Slot>, object: Object) -> &mut Slot {
    let at = slots.iter().position(|slot| slot.object == object).unwrap_or_else(|| {
        // Room kept in reserve would be paid for ten thousand times.
        slots.reserve_exact(1);
        slots.push(Slot { object, read: None, met: 0, watched: None });
        slots.len() - 1
    });
    &mut slots[at]
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn version(resource_version: &str) -> Version {
        let mut service = Service::default();
        service.metadata.resource_version = Some(resource_version.into());
        Version::of(&service)
    }

    fn key() -> ObjectKey {
        ObjectKey::new("marketing", "links")
    }

    fn service() -> Object {
        Object::new(Kind::Service, "marketing", "links-receiver")
    }

    /// A webhook whose Service was read at version 1.
    fn read() -> ObservedVersions {
        let versions = ObservedVersions::default();
        versions.mark_stale(&Arc::new(key()));
        for kind in [Kind::LinktreeWebhook, Kind::Service] {
            versions.on_relist(kind, &HashSet::new());
        }
        versions.begin_read(&key(), service());
        versions.record_read(&key(), service(), version("1"), 7);
        versions
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_object_is_believed_until_a_watch_tells_another_version() {
        type Then = fn(&ObservedVersions);
        let cases: [(&str, Then, bool); 9] = [
            ("nothing was told", |_| {}, true),
            ("its own version was told", |versions| versions.on_event(&key(), service(), version("1")), true),
            ("a newer one", |versions| versions.on_event(&key(), service(), version("2")), false),
            (
                "an older one: the watch lags behind",
                |versions| versions.on_event(&key(), service(), version("0")),
                false,
            ),
            ("it is gone", |versions| versions.on_event(&key(), service(), Version::ABSENT), false),
            ("a new list is without it", |versions| versions.on_relist(Kind::Service, &HashSet::new()), false),
            ("a new list of another kind", |versions| versions.on_relist(Kind::Pod, &HashSet::new()), true),
            ("a new list has it", |versions| versions.on_relist(Kind::Service, &HashSet::from([service()])), true),
            ("a look has begun to read it", |versions| versions.begin_read(&key(), service()), false),
        ];
        for (case, then, believed) in cases {
            let versions = read();
            then(&versions);
            assert_eq!(versions.still_meets(&key(), service(), 7), believed, "{case}");
            assert_eq!(versions.all_current(&key(), at(0)), believed, "{case}");
            assert!(!versions.still_meets(&key(), service(), 8), "{case}: something else is asked of it");
        }
    }

    #[test]
    fn a_watch_is_relied_on_once_it_has_listed_and_not_soon_after_it_failed() {
        let believed = |versions: &ObservedVersions, second| versions.all_current(&key(), at(second));
        for kind in [Kind::LinktreeWebhook, Kind::Service] {
            let versions = read();
            assert!(believed(&versions, 1000));
            versions.watch_failed(kind, at(1000));
            assert_eq!([1000, 1090, 1091].map(|now| believed(&versions, now)), [false, false, true], "{kind:?}");
        }
        let versions = read();
        versions.watch_failed(Kind::HttpRoute, at(1000));
        assert!(believed(&versions, 1000), "nothing of this kind was read");
        let not_listed = Object::new(Kind::Pod, "marketing", "links-receiver-0");
        versions.begin_read(&key(), not_listed);
        versions.record_read(&key(), not_listed, version("1"), 0);
        assert!(!believed(&versions, 1000));
    }

    #[test]
    fn what_is_told_while_an_object_is_read_counts() {
        let versions = read();
        versions.mark_stale(&Arc::new(key()));
        versions.begin_read(&key(), service());
        versions.on_event(&key(), service(), version("2"));
        versions.record_read(&key(), service(), version("1"), 7);
        assert!(!versions.all_current(&key(), at(0)), "the change came between the read and its note");
        versions.record_read(&key(), service(), version("2"), 7);
        assert!(versions.all_current(&key(), at(0)));
    }

    #[test]
    fn an_absent_object_is_as_read_until_there_is_one() {
        let versions = read();
        versions.mark_stale(&Arc::new(key()));
        versions.begin_read(&key(), service());
        versions.record_read(&key(), service(), Version::of_found::<Service>(None), 0);
        assert!(versions.all_current(&key(), at(0)));
        versions.on_event(&key(), service(), version("1"));
        assert!(!versions.all_current(&key(), at(0)));
    }

    #[test]
    fn of_a_webhook_that_was_never_looked_at_nothing_is_kept() {
        let versions = ObservedVersions::default();
        versions.on_event(&key(), service(), version("1"));
        versions.record_read(&key(), service(), version("1"), 7);
        assert!(!versions.all_current(&key(), at(0)));
    }
}

//! The last observed resourceVersions of each webhook's objects: the version that its last reconciliation read, and the
//! version that a watch reported since. If both agree, the object need not be read again. No IO.
//!
//! Versions are compared only for equality. A watch that lags behind reports an older version, which differs: the
//! object is then read once more than necessary, but a change is never missed.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use kube::Resource;

use crate::operator::kubernetes::{digest::digest, object_key::ObjectKey};

/// Number of kinds that an object's identity has bits for.
const KINDS: usize = 1 << Object::KIND.count_ones();
const _: () = assert!(Kind::StatefulSet.index() < KINDS, "the index of the last kind fits into its bits");

/// The kinds of objects that reconciling a webhook depends on, each with a watch.
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
    /// The kind's index in tables such as `watches`.
    const fn index(self) -> usize {
        self as usize
    }
}

/// The identity of an object: a digest of its namespace and name, with its kind in the lowest four bits. It is this
/// compact, since ten thousand webhooks have many objects each: a slot takes 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object(u64);

impl Object {
    const KIND: u64 = 0xf;

    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Object(digest(&(namespace, name)) & !Self::KIND | kind.index() as u64)
    }

    /// The index of the object's kind.
    const fn kind(self) -> usize {
        (self.0 & Self::KIND) as usize
    }
}

/// The version of an object: a digest of its uid and resourceVersion, or [`ABSENT`](Version::ABSENT) if it does not
/// exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(NonZeroU64);

impl Version {
    pub const ABSENT: Version = Version(NonZeroU64::MIN);

    #[must_use]
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        let digest = digest(&(&meta.uid, &meta.resource_version));
        // A digest that would collide with `ABSENT` is replaced by the maximum.
        NonZeroU64::new(digest).filter(|digest| *digest != NonZeroU64::MIN).map_or(Version(NonZeroU64::MAX), Version)
    }

    /// As [`Version::of`] for an object read by name; `ABSENT` if it was not found.
    #[must_use]
    pub fn of_found<K: Resource>(found: Option<&K>) -> Self {
        found.map_or(Version::ABSENT, Version::of)
    }
}

/// The observed versions of one object that a webhook depends on.
#[derive(Clone, Copy, Debug)]
struct Slot {
    object: Object,
    /// The version that a reconciliation last read; `None` if the object must be read again.
    read: Option<Version>,
    /// The digest of the desired object that the read version met.
    met: u64,
    /// The version that a watch last reported; `None` if there was no event since the slot was created.
    watched: Option<Version>,
}

impl Slot {
    fn is_current(&self) -> bool {
        self.read.is_some() && (self.watched.is_none() || self.watched == self.read)
    }
}

/// How long a watch counts as unreliable after a failure. It is longer than the retry delay, so that a watch that keeps
/// failing stays unreliable.
const UNRELIABLE_FOR: SignedDuration = SignedDuration::from_secs(90);

/// The last observed resourceVersions of the objects of all webhooks, and the health of the watches.
#[derive(Debug, Default)]
pub struct ObservedVersions {
    slots: Mutex<HashMap<Arc<ObjectKey>, Vec<Slot>>>,
    /// Indexed by [`Kind::index`].
    watches: Mutex<[Watch; KINDS]>,
}

/// The health of the watch of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// Whether the watch has completed its initial list.
    listed: bool,
    failed_at: Option<Timestamp>,
}

impl Watch {
    fn is_reliable(&self, now: Timestamp) -> bool {
        self.listed && self.failed_at.is_none_or(|failed_at| now.duration_since(failed_at).abs() > UNRELIABLE_FOR)
    }
}

impl ObservedVersions {
    /// Drops all versions of a webhook's objects, so that its next reconciliation reads all of them again.
    pub fn mark_stale(&self, webhook: &Arc<ObjectKey>) {
        self.versions().insert(Arc::clone(webhook), Vec::new());
    }

    pub fn forget(&self, webhook: &ObjectKey) {
        self.versions().remove(webhook);
    }

    /// Marks the object's version as stale before it is read. Versions that watches report from now on are recorded.
    pub fn begin_read(&self, webhook: &ObjectKey, object: Object) {
        self.with(webhook, |slots| slot(slots, object).read = None);
    }

    /// Records the version that a reconciliation read, and the digest `met` of the desired object that it meets.
    pub fn record_read(&self, webhook: &ObjectKey, object: Object, version: Version, met: u64) {
        self.with(webhook, |slots| {
            let slot = slot(slots, object);
            (slot.read, slot.met) = (Some(version), met);
        });
    }

    /// Records the version of an object that a watch event reported.
    pub fn on_event(&self, webhook: &ObjectKey, object: Object, version: Version) {
        self.with(webhook, |slots| {
            if let Some(slot) = slots.iter_mut().find(|slot| slot.object == object) {
                slot.watched = Some(version);
            }
        });
    }

    /// Records that a watch has completed a list of a kind: an object that is not in `listed` does not exist.
    pub fn on_relist(&self, kind: Kind, listed: &HashSet<Object>) {
        let mut versions = self.versions();
        let of_kind = versions.values_mut().flatten().filter(|slot| slot.object.kind() == kind.index());
        for slot in of_kind.filter(|slot| !listed.contains(&slot.object)) {
            slot.watched = Some(Version::ABSENT);
        }
        drop(versions);
        self.watches()[kind.index()].listed = true;
    }

    /// Records that the watch of a kind failed; the watch retries by itself.
    pub fn watch_failed(&self, kind: Kind, now: Timestamp) {
        self.watches()[kind.index()].failed_at = Some(now);
    }

    /// Whether the object is unchanged since it was read, and met the desired object with this digest then.
    #[must_use]
    pub fn still_meets(&self, webhook: &ObjectKey, object: Object, desired: u64) -> bool {
        let versions = self.versions();
        let slots = versions.get(webhook).map(Vec::as_slice).unwrap_or_default();
        slots.iter().any(|slot| slot.object == object && slot.is_current() && slot.met == desired)
    }

    /// Whether all of a webhook's objects are unchanged since they were read, and the watches that would report a
    /// change, including that of the webhooks, are reliable.
    #[must_use]
    pub fn all_current(&self, webhook: &ObjectKey, now: Timestamp) -> bool {
        let versions = self.versions();
        let Some(slots) = versions.get(webhook) else { return false };
        let watches = self.watches();
        let is_reliable = |kind: usize| watches[kind].is_reliable(now);
        is_reliable(Kind::LinktreeWebhook.index())
            && slots.iter().all(|slot| slot.is_current() && is_reliable(slot.object.kind()))
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
        // `push` alone would allocate spare capacity for each of ten thousand webhooks.
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
    fn an_object_is_current_until_a_watch_reports_another_version() {
        type Then = fn(&ObservedVersions);
        let cases: [(&str, Then, bool); 9] = [
            ("nothing was reported", |_| {}, true),
            ("the version that was read", |versions| versions.on_event(&key(), service(), version("1")), true),
            ("a newer version", |versions| versions.on_event(&key(), service(), version("2")), false),
            (
                "an older version: the watch lags behind",
                |versions| versions.on_event(&key(), service(), version("0")),
                false,
            ),
            ("a deletion", |versions| versions.on_event(&key(), service(), Version::ABSENT), false),
            ("a relist lacks it", |versions| versions.on_relist(Kind::Service, &HashSet::new()), false),
            ("a relist of another kind", |versions| versions.on_relist(Kind::Pod, &HashSet::new()), true),
            ("a relist has it", |versions| versions.on_relist(Kind::Service, &HashSet::from([service()])), true),
            ("a read of it has begun", |versions| versions.begin_read(&key(), service()), false),
        ];
        for (case, then, current) in cases {
            let versions = read();
            then(&versions);
            assert_eq!(versions.still_meets(&key(), service(), 7), current, "{case}");
            assert_eq!(versions.all_current(&key(), at(0)), current, "{case}");
            assert!(!versions.still_meets(&key(), service(), 8), "{case}: another object is desired");
        }
    }

    #[test]
    fn a_watch_is_reliable_once_it_has_listed_and_not_soon_after_a_failure() {
        let current = |versions: &ObservedVersions, second| versions.all_current(&key(), at(second));
        for kind in [Kind::LinktreeWebhook, Kind::Service] {
            let versions = read();
            assert!(current(&versions, 1000));
            versions.watch_failed(kind, at(1000));
            assert_eq!([1000, 1090, 1091].map(|now| current(&versions, now)), [false, false, true], "{kind:?}");
        }
        let versions = read();
        versions.watch_failed(Kind::HttpRoute, at(1000));
        assert!(current(&versions, 1000), "no object of this kind was read");
        let not_listed = Object::new(Kind::Pod, "marketing", "links-receiver-0");
        versions.begin_read(&key(), not_listed);
        versions.record_read(&key(), not_listed, version("1"), 0);
        assert!(!current(&versions, 1000));
    }

    #[test]
    fn an_event_during_the_read_of_its_object_is_recorded() {
        let versions = read();
        versions.mark_stale(&Arc::new(key()));
        versions.begin_read(&key(), service());
        versions.on_event(&key(), service(), version("2"));
        versions.record_read(&key(), service(), version("1"), 7);
        assert!(!versions.all_current(&key(), at(0)), "the object changed between the read and its record");
        versions.record_read(&key(), service(), version("2"), 7);
        assert!(versions.all_current(&key(), at(0)));
    }

    #[test]
    fn an_absent_object_is_current_until_it_is_created() {
        let versions = read();
        versions.mark_stale(&Arc::new(key()));
        versions.begin_read(&key(), service());
        versions.record_read(&key(), service(), Version::of_found::<Service>(None), 0);
        assert!(versions.all_current(&key(), at(0)));
        versions.on_event(&key(), service(), version("1"));
        assert!(!versions.all_current(&key(), at(0)));
    }

    #[test]
    fn nothing_is_recorded_for_a_webhook_that_was_never_reconciled() {
        let versions = ObservedVersions::default();
        versions.on_event(&key(), service(), version("1"));
        versions.record_read(&key(), service(), version("1"), 7);
        assert!(!versions.all_current(&key(), at(0)));
    }
}

//! The write of a desired object.

use std::fmt::Debug;

use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};

use super::{
    compare::{Comparison, Prefer, compare, merge_patch},
    desired::Desired,
    field_owners::FieldOwners,
    immutable::{has_immutable_fields, with_immutable_fields_of},
    live::LiveObject,
    memory::Applied,
    standing::footprint,
};
use crate::operator::kubernetes::field_manager::FieldManager;

impl Desired {
    /// Applies the object: onto the existing object with the uid `onto`, whose fields of other managers are taken over
    /// (`force`); or as a new object, without force.
    ///
    /// Server-side apply keeps fields and list items that other managers added. If there are such within the spec, a
    /// merge patch removes them.
    ///
    /// Returns `None` if the object was created, recreated or changed meanwhile: it must be read again.
    ///
    /// # Errors
    /// Any other error of the API server.
    pub async fn apply<K>(
        &self,
        api: &Api<LiveObject<K>>,
        onto: Option<&str>,
        manager: &FieldManager,
    ) -> Result<Option<Applied>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug,
    {
        match self.write(api, onto, manager).await {
            Ok(live) => Ok(Some(self.applied(&live, manager))),
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write<K>(
        &self,
        api: &Api<LiveObject<K>>,
        onto: Option<&str>,
        manager: &FieldManager,
    ) -> Result<LiveObject<K>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug,
    {
        let params = PatchParams::apply(manager.as_str());
        let Some(uid) = onto else { return api.patch(&self.name, &params, &Patch::Apply(&self.value)).await };
        let mut wanted = self.value.clone();
        if has_immutable_fields(&wanted)
            && let Some(live) = api.get_opt(&self.name).await?
        {
            wanted = with_immutable_fields_of(live.raw(), wanted);
        }
        // A precondition: the API server rejects the write if another object has the name.
        wanted["metadata"]["uid"] = uid.into();
        let (found, prefer, rejected) = match api.patch(&self.name, &params.force(), &Patch::Apply(&wanted)).await {
            Ok(applied) => (applied, Prefer::Live, None),
            // The object may be invalid only together with fields or items that others added.
            Err(kube::Error::Api(status)) if status.code == 422 => {
                (api.get(&self.name).await?, Prefer::Desired, Some(kube::Error::Api(status)))
            }
            Err(error) => return Err(error),
        };
        let owners = FieldOwners::of(found.raw(), manager.as_str());
        let Comparison { added, restored, differing: _ } = compare(&self.value, found.raw(), &owners, prefer);
        let patch = merge_patch(found.raw(), &restored).filter(|_| rejected.is_some() || !added.is_empty());
        let Some(mut patch) = patch else { return rejected.map_or(Ok(found), Err) };
        patch["metadata"]["uid"] = uid.into();
        let params = PatchParams { field_manager: Some(manager.as_str().to_owned()), ..PatchParams::default() };
        match (api.patch(&self.name, &params, &Patch::Merge(patch)).await, rejected) {
            (Ok(merged), _) => Ok(merged),
            (Err(_), Some(rejected)) => Err(rejected),
            // A policy protects what others added. Our own fields are applied: the rest is reported, and removed again
            // ever more rarely.
            (Err(kube::Error::Api(status)), None) if matches!(status.code, 400 | 403 | 422) => Ok(found),
            (Err(error), None) => Err(error),
        }
    }

    fn applied<K>(&self, live: &LiveObject<K>, manager: &FieldManager) -> Applied {
        let live = live.raw();
        let owners = FieldOwners::of(live, manager.as_str());
        let Comparison { mut differing, added, restored: _ } = compare(&self.value, live, &owners, Prefer::Live);
        differing.extend(added);
        Applied { desired: self.digest(), footprint: footprint(self, live), differences: differing }
    }
}

//! The relation of each child object to its desired state.

use std::{collections::BTreeMap, fmt::Debug};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};

use super::read::{Kubernetes, key, live_api};
use crate::operator::{
    kubernetes::{
        apply::{
            Desired,
            live::LiveObject,
            standing::{self, Applier, Standing},
        },
        claim::Claim,
    },
    watch::observed_versions::{Kind, Object, Version},
    webhook::{context::Context, observed::Child, render::Rendered, spec::Spec, state::WebhookState},
};

/// One webhook, with the memory of its children.
#[derive(Clone, Copy)]
pub struct Family<'a> {
    pub context: &'a Context,
    pub spec: &'a Spec,
    pub claim: &'a Claim,
    pub state: &'a WebhookState,
    pub now: Timestamp,
}

/// The objects of the bundled receiver, except the Ingress or HTTPRoute. `route` is the route Secret in the cluster.
pub async fn of_receiver(
    family: Family<'_>,
    rendered: &Rendered,
    route: Option<&LiveObject<Secret>>,
) -> Result<BTreeMap<Child, Standing>, kube::Error> {
    let children = &rendered.children;
    let service_account =
        family.standing::<ServiceAccount>(Child::ServiceAccount, Kind::ServiceAccount, &children.service_account);
    let service = family.standing::<Service>(Child::Service, Kind::Service, &children.service);
    let network_policy =
        family.standing::<NetworkPolicy>(Child::NetworkPolicy, Kind::NetworkPolicy, &children.network_policy);
    let stateful_set = family.standing::<StatefulSet>(Child::StatefulSet, Kind::StatefulSet, &children.stateful_set);
    Ok(BTreeMap::from([
        (Child::ServiceAccount, service_account.await?),
        (Child::Service, service.await?),
        (Child::NetworkPolicy, network_policy.await?),
        (Child::RouteSecret, family.decide(Child::RouteSecret, &rendered.route_secret, route)),
        (Child::StatefulSet, stateful_set.await?),
    ]))
}

impl Family<'_> {
    /// Decides about a child object that was read.
    pub fn decide<K>(&self, child: Child, desired: &Desired, live: Option<&LiveObject<K>>) -> Standing {
        let applier = Applier { manager: &self.context.cluster.manager, takes_over: *self.claim == Claim::Ours };
        standing::decide(desired, live.map(LiveObject::raw), self.state.applied.get(child), applier, self.now)
    }

    /// Reads a child object and decides about it. An object that was as desired is read only if it or its desired state
    /// has changed since.
    async fn standing<K>(&self, child: Child, kind: Kind, desired: &Desired) -> Result<Standing, kube::Error>
    where
        K: Kubernetes + Debug,
    {
        let (versions, webhook) = (&self.context.versions, key(self.spec));
        let object = Object::new(kind, &webhook.namespace, &desired.name);
        if versions.still_meets(&webhook, object, desired.digest()) {
            return Ok(Standing::Met);
        }
        versions.begin_read(&webhook, object);
        let live = live_api::<K>(self.context, self.spec).get_opt(&desired.name).await?;
        let standing = self.decide(child, desired, live.as_ref());
        match &standing {
            Standing::Met => versions.record_read(&webhook, object, Version::of_found(live.as_ref()), desired.digest()),
            // The resync reads them again.
            Standing::Kept(_) | Standing::Foreign(_) => {
                versions.record_read(&webhook, object, Version::of_found(live.as_ref()), 0);
            }
            Standing::Apply { .. } | Standing::AnotherOperator { .. } => {}
        }
        Ok(standing)
    }
}

//! The plan of a decision, as data: the steps in order, and the findings for the status. It has no effects itself.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;

use super::{
    creation::Creation,
    observed::{Child, StaleObject},
};
use crate::{
    api::{
        condition::ConditionType,
        journal_status::JournalForecast,
        webhook_status::{AwaitedMilestones, SubscriptionAccount, SubscriptionStatus},
    },
    linktree::wire::{SubscriptionId, UpdateSubscription},
    operator::kubernetes::conditions::Finding,
    route::redrive::RedriveRequest,
};

/// Requeue delay of a settled webhook, at which its receiver's counters are read.
pub const SETTLED: Duration = Duration::from_secs(15);

/// One effect on the cluster or on Linktree, performed only by the stage `execute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    AddFinalizer,
    /// Applies one of the webhook's child objects, onto the existing object with this uid or as a new one.
    Apply(Child, Option<String>),
    /// Deletes a stale object: a previous Ingress or HTTPRoute, or an object of a previous bundled receiver.
    Remove(StaleObject),
    /// Annotates the pod, so that the kubelet refreshes the mounted Secret at once instead of up to a minute later.
    RefreshPodMount {
        pod: String,
    },
    /// Requests that the receiver at this address sends dead letters again.
    Redrive {
        address: IpAddr,
        request: RedriveRequest,
    },
    /// Requests a list of the account ahead of its sync period.
    RequestList,
    /// Records in the status that a registration starts, before `Register` sends the request to Linktree.
    RecordRegistration {
        at: Timestamp,
        creation: Creation,
    },
    /// Checks with a dry run that a secret from Linktree can be stored, before a step creates one that would be lost.
    DryRunSecretWrite,
    /// `POST /v1/webhooks`; stores the signing secret if the response contains one.
    Register {
        creation: Creation,
    },
    /// Adopts an existing subscription with the webhook's URL; changes nothing at Linktree.
    Adopt {
        id: SubscriptionId,
    },
    /// Rotates the signing secret at Linktree and stores the new one. With `keep_previous` the receiver also accepts
    /// the previous secret for another hour, since retries of earlier deliveries are signed with it. `request`: the
    /// value of the annotation with which the user requested the rotation, if one did.
    RotateSecret {
        id: SubscriptionId,
        keep_previous: bool,
        request: Option<String>,
    },
    Update {
        id: SubscriptionId,
        change: UpdateSubscription,
    },
    Reenable {
        id: SubscriptionId,
    },
    /// `DELETE /v1/webhooks/{id}`; a subscription that does not exist counts as deleted.
    Unsubscribe {
        id: SubscriptionId,
    },
    /// Removes the finalizer. `orphan`: the id or URL of the subscription that may be left behind at Linktree.
    RemoveFinalizer {
        orphan: Option<String>,
    },
}

impl Step {
    /// Whether the step sends a request to Linktree.
    #[must_use]
    pub fn calls_linktree(&self) -> bool {
        match self {
            Step::Register { .. }
            | Step::RotateSecret { .. }
            | Step::Update { .. }
            | Step::Reenable { .. }
            | Step::Unsubscribe { .. } => true,
            Step::AddFinalizer
            | Step::Apply(..)
            | Step::Remove(_)
            | Step::RefreshPodMount { .. }
            | Step::Redrive { .. }
            | Step::RequestList
            | Step::DryRunSecretWrite
            | Step::RecordRegistration { .. }
            | Step::Adopt { .. }
            | Step::RemoveFinalizer { .. } => false,
        }
    }
}

/// A handled request to send dead letters again: how many it selected, or the reason why it was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandledRedrive {
    /// The annotation's value.
    pub request: String,
    pub result: Result<u64, String>,
}

/// The decision for one webhook: its steps, and its findings before they are performed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// One per condition type, in the order of the status, which adds `Ready` and the kstatus conditions.
    pub findings: Vec<(ConditionType, Finding)>,
    pub subscription: Option<SubscriptionStatus>,
    /// The account that the subscription is in.
    pub account: Option<SubscriptionAccount>,
    pub awaited_milestones: Option<AwaitedMilestones>,
    /// When undelivered events fill the journal, if that is soon.
    pub journal_forecast: Option<JournalForecast>,
    /// The value of the sync request that this reconciliation completes.
    pub handled_sync_request: Option<String>,
    /// The request to send dead letters again that this decision rejects.
    pub rejected_redrive: Option<HandledRedrive>,
    /// The delay until the next reconciliation, unless a watch event enqueues the webhook earlier.
    pub requeue: Duration,
    /// Settled: without a change of the observed state, the plan stays the same. The passage of time alone changes only
    /// reports that may be some minutes late.
    pub rests: bool,
}

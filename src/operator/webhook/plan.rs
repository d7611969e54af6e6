//! A decision as data: the steps in order, and the findings for the status. It has no effects.

use std::time::Duration;

use jiff::Timestamp;

use super::observed::{Child, StaleObject};
use crate::{
    api::{
        condition::ConditionType,
        webhook_status::{AwaitedMilestones, SubscriptionStatus},
    },
    linktree::wire::{SubscriptionId, UpdateSubscription},
    operator::kubernetes::conditions::Finding,
};

/// Requeue delay of a settled webhook, whose counters are read from the receiver.
pub const SETTLED: Duration = Duration::from_secs(15);

/// One effect, performed only by `execute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    AddFinalizer,
    /// Applies one of the receiver's objects.
    Apply(Child),
    /// Deletes a stale object: a previous Ingress or HTTPRoute, or part of a previous receiver.
    Remove(StaleObject),
    /// Annotates the pod, which makes the kubelet refresh the mounted Secret at once instead of a minute later.
    RefreshPodMount {
        pod: String,
    },
    /// Requests a list of the account before the sync period ends.
    RequestList,
    /// Records in the status that a registration begins, before the request to Linktree.
    RecordRegistration {
        at: Timestamp,
    },
    /// Checks with a dry run whether a secret from Linktree can be stored, before one is requested that would be lost.
    DryRunSecretWrite,
    /// `POST /v1/webhooks`; stores the signing secret in the response.
    Register,
    /// Adopts an existing subscription with the webhook's URL; changes nothing at Linktree.
    Adopt {
        id: SubscriptionId,
    },
    /// Rotates the signing secret at Linktree and stores the new one. With `keep_previous` the receiver accepts the
    /// previous secret for another hour, since retries of earlier deliveries are signed with it. `request`: the value of
    /// the user's annotation, if the user asked for the rotation.
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
    /// Removes the finalizer. `orphan`: the subscription that may be left behind at Linktree.
    RemoveFinalizer {
        orphan: Option<String>,
    },
}

impl Step {
    /// Whether the step is a request to Linktree.
    #[must_use]
    pub fn calls_linktree(&self) -> bool {
        match self {
            Step::Register
            | Step::RotateSecret { .. }
            | Step::Update { .. }
            | Step::Reenable { .. }
            | Step::Unsubscribe { .. } => true,
            Step::AddFinalizer
            | Step::Apply(_)
            | Step::Remove(_)
            | Step::RefreshPodMount { .. }
            | Step::RequestList
            | Step::DryRunSecretWrite
            | Step::RecordRegistration { .. }
            | Step::Adopt { .. }
            | Step::RemoveFinalizer { .. } => false,
        }
    }
}

/// The steps for one webhook, and its findings before they are performed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// One per condition type, in the order of display; the status adds `Ready` and the kstatus conditions.
    pub findings: Vec<(ConditionType, Finding)>,
    pub subscription: Option<SubscriptionStatus>,
    pub awaited_milestones: Option<AwaitedMilestones>,
    /// The sync request that this reconciliation completes.
    pub handled_sync_request: Option<String>,
    /// The delay until the next reconciliation, unless a change triggers one earlier.
    pub requeue: Duration,
    /// In sync: the plan stays the same until the observed state changes. The passage of time changes only what may be
    /// reported some minutes late.
    pub rests: bool,
}

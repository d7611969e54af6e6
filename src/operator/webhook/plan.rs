//! A decision, as data: what is to be done, in order, and what the status is to say. Nothing here does anything.

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

/// How often a settled webhook is looked at: its counters come from the receiver, which is asked.
pub const SETTLED: Duration = Duration::from_secs(15);

/// One effect. `execute` is the only place that performs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    AddFinalizer,
    /// Applies one of the receiver's objects.
    Apply(Child),
    /// Deletes what exposed the receiver before, or was one.
    Remove(StaleObject),
    /// Annotates the pod, which makes the kubelet look at its mounted Secret at once instead of a minute later.
    RefreshPodMount {
        pod: String,
    },
    /// Asks for a list of the account before the sync period is over.
    RequestList,
    /// Writes down that registration begins, before Linktree is asked.
    RecordRegistration {
        at: Timestamp,
    },
    /// Asks Kubernetes, without writing anything, whether a secret from Linktree could be kept: before Linktree is asked for
    /// one that then nobody would have.
    DryRunSecretWrite,
    /// `POST /v1/webhooks`; keeps the secret that comes with the answer.
    Register,
    /// Takes over a subscription that is there already for our url: no effect at Linktree.
    Adopt {
        id: SubscriptionId,
    },
    /// Has Linktree make a new secret and keeps it; the one before it is still tried for a while if the subscription has
    /// used it. `request`: a person's.
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
    /// `DELETE /v1/webhooks/{id}`; that it is not there counts as done.
    Unsubscribe {
        id: SubscriptionId,
    },
    /// Removes the finalizer. `orphan`: a subscription may stay behind at Linktree.
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

/// What is to be done about one webhook, and what is known of it before that.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// One per condition type, in the order they are shown in; `Ready` and the kstatus conditions are added by `report`.
    pub findings: Vec<(ConditionType, Finding)>,
    pub subscription: Option<SubscriptionStatus>,
    pub awaited_milestones: Option<AwaitedMilestones>,
    /// The request for a look at Linktree that is handled with this.
    pub handled_sync_request: Option<String>,
    /// When to look again if nothing happens before.
    pub requeue: Duration,
    /// All is well, and goes on to be planned like this until something of what was observed changes: time alone changes
    /// nothing, but for what may be said some minutes late.
    pub rests: bool,
}

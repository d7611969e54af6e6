//! `managementPolicy: Observe`: the status lists the changes that the operator would make at Linktree; it makes none.

use super::outcome::Subscription;
use crate::{
    api::webhook_status::{Action, PlannedAction, SubscriptionState, SubscriptionStatus},
    operator::webhook::{plan::Step, subscription_record::registering},
};

/// Moves every step that would change something at Linktree from the plan into the status.
pub(super) fn decide(mut decided: Subscription) -> Subscription {
    let plan: Vec<PlannedAction> = decided.steps.iter().filter_map(planned).collect();
    let adopts = decided.steps.iter().any(|step| matches!(step, Step::Adopt { .. }));
    decided.steps.retain(|step| matches!(step, Step::RequestList));
    // The status must not record the id of a subscription that is not adopted: the next plan would then lack its
    // adoption.
    if let Some(status) = decided.status.as_mut().filter(|_| adopts) {
        status.id = None;
    }
    if !plan.is_empty() {
        let absent = || SubscriptionStatus { state: SubscriptionState::Absent, ..registering(None) };
        decided.status.get_or_insert_with(absent).plan = plan;
    }
    decided
}

fn planned(step: &Step) -> Option<PlannedAction> {
    let action = |action| Some(PlannedAction { action, fields: Vec::new() });
    match step {
        Step::Register { .. } => action(Action::Create),
        Step::Adopt { .. } => action(Action::Adopt),
        Step::RotateSecret { .. } => action(Action::RotateSecret),
        Step::Reenable { .. } => action(Action::Enable),
        Step::Unsubscribe { .. } => action(Action::Delete),
        Step::Update { change, .. } => {
            let fields = [(change.url.is_some(), "url"), (change.events.is_some(), "events")];
            let fields = fields.into_iter().filter(|(changes, _)| *changes).map(|(_, field)| field.to_owned());
            Some(PlannedAction { action: Action::Update, fields: fields.collect() })
        }
        Step::AddFinalizer
        | Step::Apply(..)
        | Step::Remove(_)
        | Step::RefreshPodMount { .. }
        | Step::Redrive { .. }
        | Step::RequestList
        | Step::DryRunSecretWrite
        | Step::RecordRegistration { .. }
        | Step::RemoveFinalizer { .. } => None,
    }
}

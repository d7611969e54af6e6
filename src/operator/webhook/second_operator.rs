//! A webhook that another operator manages: this one leaves it and everything that belongs to it alone, and reports it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{ResourceExt, runtime::events::EventType};

use super::{context::Context, state::WebhookState};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        connection::LinktreeConnection,
        webhook::LinktreeWebhook,
        webhook_status::LinktreeWebhookStatus,
    },
    operator::kubernetes::{
        annotations::OPERATOR,
        apply,
        claim::Claim,
        conditions::{self, Finding},
        error::ReconcileError,
        field_manager::FieldManager,
        guarded::{Guarded, GuardedApi},
        object_key::ObjectKey,
    },
};

/// Resync interval of a webhook that another operator manages.
const RESYNC: Duration = Duration::from_secs(300);
/// How long the operator that manages a webhook keeps the condition about a second one, which renews it if it still
/// runs.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The operator that manages a webhook: the one in its annotation, or else the one that manages its connection, or else
/// the last one that wrote its status.
pub fn claim(context: &Context, webhook: &LinktreeWebhook) -> Claim {
    let manager = &context.cluster.manager;
    if webhook.annotations().contains_key(OPERATOR) {
        return Claim::of(&webhook.metadata, manager);
    }
    let connection = ObjectKey::connection_of(webhook).object_ref::<Guarded<LinktreeConnection>>();
    let connection = context.connections.objects.get(&connection);
    let by_connection = connection.map_or(Claim::Unclaimed, |connection| Claim::of(&connection.metadata, manager));
    by_connection.or_else(|| Claim::of(&webhook.metadata, manager))
}

/// Reports on the webhook that `operator` manages it: once as an Event and in the log, and as a condition.
pub async fn leave_alone(
    context: &Context,
    webhook: &LinktreeWebhook,
    operator: &str,
    state: &mut WebhookState,
    now: Timestamp,
) -> Result<Duration, ReconcileError> {
    let ours = &context.cluster.manager;
    let finding = finding(operator, ours);
    if state.applied.leave_to(operator) {
        let (reason, note) = (Reason::ManagedByAnotherOperator.as_str(), finding.message.clone());
        context.cluster.events.publish(webhook, EventType::Warning, reason, note).await;
    }
    let seen = webhook.status.clone().unwrap_or_default();
    let found = conditions::find(&seen.conditions, ConditionType::OperatorConflict);
    if found.is_some_and(|found| found.message == finding.message && is_recent(found, now)) {
        return Ok(RESYNC);
    }
    let rendered =
        conditions::render(&[(ConditionType::OperatorConflict, finding)], &[], webhook.metadata.generation, now);
    let mut next = seen;
    next.conditions.retain(|condition| condition.type_ != ConditionType::OperatorConflict.as_str());
    next.conditions.extend(rendered);
    // In the name of the last writer, whose next write then replaces the condition, and whose claim stays.
    let manager = Claim::last_writer(&webhook.metadata).unwrap_or(ours.as_str());
    let namespace = webhook.namespace().unwrap_or_default();
    let api: GuardedApi<LinktreeWebhook> = GuardedApi::namespaced(context.cluster.client.clone(), &namespace);
    apply::replace_status(&api, webhook, &next, manager).await?;
    Ok(RESYNC)
}

/// Keeps the condition that a second operator wrote, for some time.
pub fn carry_over(
    previous: &LinktreeWebhookStatus,
    next: &mut LinktreeWebhookStatus,
    ours: &FieldManager,
    now: Timestamp,
) {
    let found = conditions::find(&previous.conditions, ConditionType::OperatorConflict);
    // One that names this operator as the manager is another's report.
    let is_anothers = |found: &&Condition| found.message.starts_with(&managed_by(ours.operator()));
    let kept = found.filter(|found| is_anothers(found) && is_recent(found, now));
    let conditions = std::mem::take(&mut next.conditions);
    let all = conditions.into_iter().chain(kept.cloned()).collect();
    next.conditions =
        apply::in_order_kept(all, &previous.conditions, |before, condition| before.type_ == condition.type_);
}

fn is_recent(condition: &Condition, now: Timestamp) -> bool {
    let Condition { last_transition_time: Time(since), .. } = condition;
    (SignedDuration::from_secs(-60)..KEPT_FOR).contains(&now.duration_since(*since))
}

fn managed_by(operator: &str) -> String {
    format!("operator {operator} manages this webhook")
}

fn finding(operator: &str, ours: &FieldManager) -> Finding {
    let (managed, second) = (managed_by(operator), ours.operator());
    let message = format!(
        "{managed}, and operator {second}, which watches this namespace too, leaves it alone: uninstall one of them or \
         limit its watchNamespaces; to hand the webhook over, annotate it and its LinktreeConnection with \
         {OPERATOR}={second}"
    );
    Finding::new(true, Reason::ManagedByAnotherOperator, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managing_operator_keeps_the_report_of_a_second_one_for_an_hour() {
        let (first, second) = (FieldManager::new("a", "x"), FieldManager::new("b", "y"));
        let at = |second| Timestamp::from_second(second).unwrap();
        let report = finding(first.operator(), &second);
        let previous = LinktreeWebhookStatus {
            conditions: conditions::render(&[(ConditionType::OperatorConflict, report)], &[], Some(1), at(100)),
            ..LinktreeWebhookStatus::default()
        };
        let kept = |ours: &FieldManager, now| {
            let mut next = LinktreeWebhookStatus::default();
            carry_over(&previous, &mut next, ours, at(now));
            next.conditions == previous.conditions
        };
        assert_eq!([100, 99, 3699, 3700].map(|now| kept(&first, now)), [true, true, true, false]);
        assert!(!kept(&second, 100), "it has taken the webhook over");
    }
}

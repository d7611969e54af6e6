//! Computes a connection's status from its token and account. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use super::{decide::Token, inventory::Inventory};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        connection::{AccountStatus, LinktreeConnection, LinktreeConnectionStatus},
    },
    linktree::{
        error::{ApiError, RetryClass},
        wire,
    },
    operator::{
        account::{Account, reason::reason},
        kubernetes::{
            apply::in_order_kept,
            conditions::{self, Finding, Status},
            guarded::FieldProblem,
        },
        watch::index::IndexEntry,
    },
};

/// Input from which a connection's status is computed.
pub struct Report<'a> {
    pub connection: &'a LinktreeConnection,
    pub token: Token,
    pub account: Option<&'a Account>,
    pub webhooks: &'a [Arc<IndexEntry>],
    /// The webhooks of other connections with the same account.
    pub webhooks_sharing: &'a [Arc<IndexEntry>],
    /// The value of the sync request that this reconciliation completes.
    pub handled_sync_request: Option<&'a str>,
    pub now: Timestamp,
}

impl Report<'_> {
    /// The connection's new status.
    #[must_use]
    pub fn status(&self) -> LinktreeConnectionStatus {
        let previous = self.connection.status.clone().unwrap_or_default();
        let snapshot = self.account.and_then(Account::snapshot);
        let inventory = snapshot
            .as_ref()
            .map(|snapshot| Inventory::of(&snapshot.subscriptions, self.webhooks, self.webhooks_sharing));
        let generation = self.connection.metadata.generation;
        LinktreeConnectionStatus {
            observed_generation: generation,
            last_handled_sync_request: self
                .handled_sync_request
                .map_or(previous.last_handled_sync_request, |handled| Some(handled.to_owned())),
            account: snapshot.as_ref().map_or(previous.account, |snapshot| snapshot.account.as_ref().map(account)),
            request_budget: self.account.map(|account| account.budget_status(self.now)),
            capabilities: self.account.map(|account| account.capabilities().status(previous.capabilities)),
            subscriptions: inventory.as_ref().map_or(previous.subscriptions, |inventory| Some(inventory.counts)),
            unmanaged_subscriptions: match inventory {
                Some(Inventory { unmanaged, .. }) => {
                    in_order_kept(unmanaged, &previous.unmanaged_subscriptions, |before, known| before.id == known.id)
                }
                None => previous.unmanaged_subscriptions,
            },
            conditions: conditions::render(
                &self.findings(snapshot.is_some()),
                &previous.conditions,
                generation,
                self.now,
            ),
        }
    }

    fn findings(&self, listed: bool) -> Vec<(ConditionType, Finding)> {
        let last_error = self.account.and_then(Account::last_error);
        let quota = self.account.map_or_else(
            || quota(0, None),
            |account| {
                let waiting = account.load(self.now).waiting.iter().map(|(_, waiting)| waiting).sum();
                quota(waiting, account.budget(self.now).1)
            },
        );
        let token = self.token_accepted(last_error.as_ref(), listed);
        let ready = match &last_error {
            _ if token.status == Status::False => Finding { status: Status::False, ..token.clone() },
            Some(error) => Finding::new(false, reason(error), error.to_string()),
            None if listed => {
                let unclear = self.account.map(Account::unclear_fields).unwrap_or_default();
                Finding::new(true, Reason::Available, usable(&unclear))
            }
            None => Finding::new(false, Reason::Pending, "the account has not been listed yet"),
        };
        let permanent = token.status == Status::False || last_error.as_ref().is_some_and(needs_user);
        let mut findings = vec![(ConditionType::Ready, ready.clone())];
        findings.push((ConditionType::TokenAccepted, token));
        findings.push((ConditionType::QuotaAvailable, quota));
        if !ready.holds() {
            let kstatus = if permanent { ConditionType::Stalled } else { ConditionType::Reconciling };
            findings.push((kstatus, Finding { status: Status::True, ..ready }));
        }
        findings
    }

    fn token_accepted(&self, last_error: Option<&ApiError>, listed: bool) -> Finding {
        let reference = &self.connection.spec.token_secret_ref;
        match (self.token, last_error) {
            (Token::Missing, _) => Finding::new(
                false,
                Reason::TokenMissing,
                format!("no API token in key {} of Secret {}: add it there", reference.key, reference.name),
            ),
            (Token::Unusable, _) => Finding::new(
                false,
                Reason::TokenRejected,
                format!(
                    "the API token in key {} of Secret {} contains characters that no token has: copy it again",
                    reference.key, reference.name
                ),
            ),
            (Token::Present, Some(error @ ApiError::TokenRejected { .. })) => Finding::new(
                false,
                Reason::TokenRejected,
                format!("{error}: put a valid token into key {} of Secret {}", reference.key, reference.name),
            ),
            (Token::Present, _) if listed => Finding::new(true, Reason::Available, "Linktree accepts the token"),
            (Token::Present, _) => Finding::new(Status::Unknown, Reason::Pending, "the token has not been used yet"),
        }
    }
}

/// The status of a connection whose spec cannot be read: the previous one with other conditions.
#[must_use]
pub(super) fn invalid(
    connection: &LinktreeConnection,
    problem: &FieldProblem,
    now: Timestamp,
) -> LinktreeConnectionStatus {
    let previous = connection.status.clone().unwrap_or_default();
    let message = format!("{} {}", problem.field, problem.explanation());
    let finding = |status: bool| Finding::new(status, Reason::InvalidSpec, message.clone());
    let findings = [(ConditionType::Ready, finding(false)), (ConditionType::Stalled, finding(true))];
    let generation = connection.metadata.generation;
    LinktreeConnectionStatus {
        observed_generation: generation,
        conditions: conditions::render(&findings, &previous.conditions, generation, now),
        ..previous
    }
}

/// The message of a usable connection, with the fields of Linktree's responses that were not understood.
fn usable(unclear: &[&str]) -> String {
    let usable = "the Linktree API can be used";
    if unclear.is_empty() {
        return usable.to_owned();
    }
    let unclear = unclear.join(", ");
    format!("{usable}; fields of its responses that are not understood count as absent: {unclear}")
}

fn account(account: &wire::Account) -> AccountStatus {
    AccountStatus { id: account.id.clone(), plan: account.plan.clone() }
}

/// The `QuotaAvailable` condition. Its message contains no number and no time, since each change would cost a status
/// write.
fn quota(waiting: usize, next_free: Option<Timestamp>) -> Finding {
    match (waiting, next_free) {
        (0, None) => Finding::new(true, Reason::Available, "the request budget is not used up"),
        (0, Some(_)) => {
            let message = "the request budget is used up for now: no action is needed";
            Finding::new(false, Reason::QuotaExhausted, message)
        }
        (_, None | Some(_)) => {
            let message = "requests to Linktree are queued, because the request budget is used up: each webhook \
                           reports when its request is due";
            Finding::new(false, Reason::QuotaExhausted, message)
        }
    }
}

/// Whether an error persists until a user acts.
fn needs_user(error: &ApiError) -> bool {
    match error.retry_class() {
        RetryClass::Permanent | RetryClass::Absent => true,
        RetryClass::Transient { .. } => false,
    }
}

#[cfg(test)]
mod tests;

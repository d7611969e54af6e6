//! Turns what is known of an account into the connection's status. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{decide::Token, inventory::Inventory, reason};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        connection::{AccountStatus, LinktreeConnection, LinktreeConnectionStatus, RequestBudgetStatus},
        webhook::LinktreeWebhook,
    },
    linktree::{
        error::{ApiError, RetryClass},
        wire,
    },
    operator::{
        account::Account,
        conditions::{self, Finding, Status},
    },
};

pub struct Report<'a> {
    pub connection: &'a LinktreeConnection,
    pub token: Token,
    pub account: Option<&'a Account>,
    pub webhooks: &'a [Arc<LinktreeWebhook>],
    /// The account was listed in this look.
    pub listed: bool,
    /// A person's request for a list that is handled with this look.
    pub handled_sync_request: Option<&'a str>,
    pub now: Timestamp,
}

impl Report<'_> {
    /// The status as it should stand now.
    #[must_use]
    pub fn status(&self) -> LinktreeConnectionStatus {
        let previous = self.connection.status.clone().unwrap_or_default();
        let snapshot = self.account.and_then(Account::snapshot);
        let inventory = snapshot.as_ref().map(|snapshot| Inventory::of(&snapshot.subscriptions, self.webhooks));
        let generation = self.connection.metadata.generation;
        LinktreeConnectionStatus {
            observed_generation: generation,
            last_handled_sync_request: self
                .handled_sync_request
                .map_or(previous.last_handled_sync_request, |handled| Some(handled.to_owned())),
            account: snapshot.as_ref().map_or(previous.account, |snapshot| snapshot.account.as_ref().map(account)),
            request_budget: self.budget(previous.request_budget),
            capabilities: self.account.map(|account| account.capabilities().status()),
            subscriptions: inventory.as_ref().map_or(previous.subscriptions, |inventory| Some(inventory.counts)),
            unmanaged_subscriptions: inventory
                .map_or(previous.unmanaged_subscriptions, |inventory| inventory.unmanaged),
            conditions: conditions::render(
                &self.findings(snapshot.is_some()),
                &previous.conditions,
                generation,
                self.now,
            ),
        }
    }

    fn findings(&self, listed: bool) -> Vec<(ConditionType, Finding)> {
        let trouble = self.account.and_then(Account::trouble);
        let quota = match self.account.map(|account| account.budget(self.now)) {
            Some((0, next)) => Finding::new(false, Reason::QuotaExhausted, exhausted(next)),
            Some(_) | None => Finding::new(true, Reason::Available, "requests to Linktree are left"),
        };
        let token = self.token_accepted(trouble.as_ref(), listed);
        let ready = match &trouble {
            _ if token.status == Status::False => Finding { status: Status::False, ..token.clone() },
            Some(error) => Finding::new(false, reason(error), error.to_string()),
            None if listed => Finding::new(true, Reason::Available, "the account can be read and written"),
            None => Finding::new(false, Reason::Pending, "the account has not been listed yet"),
        };
        let permanent = token.status == Status::False || trouble.as_ref().is_some_and(needs_a_person);
        let mut findings = vec![(ConditionType::Ready, ready.clone())];
        findings.push((ConditionType::TokenAccepted, token));
        findings.push((ConditionType::QuotaAvailable, quota));
        if !ready.holds() {
            let kstatus = if permanent { ConditionType::Stalled } else { ConditionType::Reconciling };
            findings.push((kstatus, Finding { status: Status::True, ..ready }));
        }
        findings
    }

    fn token_accepted(&self, trouble: Option<&ApiError>, listed: bool) -> Finding {
        let place = &self.connection.spec.token_secret_ref;
        match (self.token, trouble) {
            (Token::Missing, _) => Finding::new(
                false,
                Reason::TokenMissing,
                format!("put the API token into key {} of Secret {}", place.key, place.name),
            ),
            (Token::Unusable, _) => Finding::new(
                false,
                Reason::TokenRejected,
                format!("key {} of Secret {} holds characters that no token has: copy it anew", place.key, place.name),
            ),
            (Token::Present, Some(error @ ApiError::TokenRejected { .. })) => Finding::new(
                false,
                Reason::TokenRejected,
                format!("{error}; put a valid token into Secret {}", place.name),
            ),
            (Token::Present, _) if listed => Finding::new(true, Reason::Available, "Linktree knows the token"),
            (Token::Present, _) => Finding::new(Status::Unknown, Reason::Pending, "the token has not been used yet"),
        }
    }

    /// As of the last list: a number that moved with every request would be a write per request.
    fn budget(&self, previous: Option<RequestBudgetStatus>) -> Option<RequestBudgetStatus> {
        let (remaining, next) = self.account?.budget(self.now);
        let fresh = RequestBudgetStatus {
            remaining: i64::try_from(remaining).unwrap_or(i64::MAX),
            reset_time: next.map(|next| Time(conditions::whole_seconds(next))),
        };
        previous.filter(|_| !self.listed).or(Some(fresh))
    }
}

fn account(account: &wire::Account) -> AccountStatus {
    AccountStatus { id: account.id.clone(), plan: account.plan.clone() }
}

fn exhausted(next: Option<Timestamp>) -> String {
    let next = next.map(|next| format!("; the next is free at {}", conditions::whole_seconds(next)));
    format!("the request budget is used up{}", next.unwrap_or_default())
}

fn needs_a_person(error: &ApiError) -> bool {
    match error.retry_class() {
        RetryClass::Permanent | RetryClass::Absent => true,
        RetryClass::Transient { .. } => false,
    }
}

#[cfg(test)]
mod tests;

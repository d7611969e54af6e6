//! The child objects: which are applied, and what the conditions report about those that are not as desired.

use std::fmt::Write;

use crate::{
    api::condition::Reason,
    operator::{
        kubernetes::{
            apply::{compare::Difference, memory::Applied, ownership::Foreign, standing::Standing},
            conditions::Finding,
        },
        webhook::{
            observed::{Child, Observed},
            plan::Step,
            spec::{Exposure, Spec},
        },
    },
};

/// Maximum length of an Event's note, in characters. Kubernetes allows 1,024 bytes.
const NOTE_MAX: usize = 900;

/// The steps that apply children. While an object that the pod uses is not ours, the StatefulSet is not applied.
pub(super) fn apply(observed: &Observed) -> impl Iterator<Item = Step> {
    let is_foreign = |child: &Child| matches!(observed.children.get(child), Some(Standing::Foreign(_)));
    let held = [Child::ServiceAccount, Child::NetworkPolicy, Child::RouteSecret].iter().any(is_foreign);
    observed.children.iter().filter_map(move |(child, standing)| match standing {
        Standing::Apply { .. } if held && *child == Child::StatefulSet => None,
        Standing::Apply { onto, reverts: _ } => Some(Step::Apply(*child, onto.clone())),
        Standing::Met | Standing::Kept(_) | Standing::Foreign(_) | Standing::AnotherOperator { .. } => None,
    })
}

/// A note about the changes of other clients that these applies have reverted, if any.
#[must_use]
pub fn reverted(spec: &Spec, observed: &Observed, applied: &[(Child, Applied)]) -> Option<String> {
    let notes = applied.iter().filter_map(|(child, _)| match observed.children.get(child) {
        Some(Standing::Apply { reverts, .. }) if !reverts.is_empty() => {
            Some(format!("{}: {}", object(spec, *child), fields(reverts)))
        }
        Some(
            Standing::Met
            | Standing::Apply { .. }
            | Standing::Kept(_)
            | Standing::Foreign(_)
            | Standing::AnotherOperator { .. },
        )
        | None => None,
    });
    let notes: Vec<String> = notes.collect();
    let note = format!("reverted changes that other clients made to objects of this operator: {}", notes.join("; "));
    (!notes.is_empty()).then(|| note.chars().take(NOTE_MAX).collect())
}

/// The finding about the receiver, with the state of its objects.
pub(super) fn report_receiver(spec: &Spec, observed: &Observed, receiver: Finding) -> Finding {
    report(spec, observed, receiver, |child| child != Child::Exposure, |_| false)
}

/// The finding about the endpoint, with the state of the Ingress or HTTPRoute. It stays true while the URL leads to the
/// receiver.
pub(super) fn report_exposure(spec: &Spec, observed: &Observed, endpoint: Finding) -> Finding {
    report(spec, observed, endpoint, |child| child == Child::Exposure, Finding::holds)
}

fn report(
    spec: &Spec,
    observed: &Observed,
    mut finding: Finding,
    is_meant: impl Fn(Child) -> bool,
    prevails: impl Fn(&Finding) -> bool,
) -> Finding {
    let children = || observed.children.iter().filter(|(child, _)| is_meant(**child));
    let foreign = children().find_map(|(child, standing)| match standing {
        Standing::Foreign(foreign) => Some(taken(&object(spec, *child), foreign)),
        Standing::Met | Standing::Apply { .. } | Standing::Kept(_) | Standing::AnotherOperator { .. } => None,
    });
    match foreign {
        Some(taken) if prevails(&finding) => add(&mut finding, &taken),
        Some(taken) => finding = Finding::new(false, Reason::NameTaken, taken),
        None => {}
    }
    let kept: Vec<String> = children()
        .filter_map(|(child, standing)| match standing {
            Standing::Kept(differences) if !differences.is_empty() => {
                Some(format!("{}: {}", object(spec, *child), fields(differences)))
            }
            Standing::Met
            | Standing::Apply { .. }
            | Standing::Kept(_)
            | Standing::Foreign(_)
            | Standing::AnotherOperator { .. } => None,
        })
        .collect();
    if !kept.is_empty() {
        let kept = kept.join("; ");
        add(
            &mut finding,
            &format!(
                "the cluster keeps other values than the operator applies ({kept}): see the admission policies and the clients that change these fields"
            ),
        );
    }
    finding
}

fn add(finding: &mut Finding, message: &str) {
    // Writing to a String never fails.
    let _ = write!(finding.message, "; however, {message}");
}

/// The message about an object that is not ours.
#[must_use]
pub fn taken(object: &str, foreign: &Foreign) -> String {
    let whose = match foreign {
        Foreign::Unlabeled => "it was not created by this operator".to_owned(),
        Foreign::OwnedBy { owner } => format!("it belongs to {owner}"),
    };
    format!(
        "the name is taken: {object} exists and is left alone, since {whose}; delete or rename it, or rename the webhook"
    )
}

/// The fields of differences, with the managers that changed them.
#[must_use]
pub fn fields(differences: &[Difference]) -> String {
    let field = |Difference { field, manager }: &Difference| match manager {
        Some(manager) => format!("{field} (changed by {manager})"),
        None => field.clone(),
    };
    differences.iter().map(field).collect::<Vec<_>>().join(", ")
}

/// The kind and name of a child object.
#[must_use]
pub fn object(spec: &Spec, child: Child) -> String {
    let kind = match child {
        Child::ServiceAccount => "ServiceAccount",
        Child::Service => "Service",
        Child::NetworkPolicy => "NetworkPolicy",
        Child::RouteSecret => return format!("Secret {}", spec.route_secret_name()),
        Child::StatefulSet => "StatefulSet",
        Child::Exposure => match spec.exposure() {
            Some(Exposure::HttpRoute(_)) => "HTTPRoute",
            Some(Exposure::Ingress(_) | Exposure::None | Exposure::Service) | None => "Ingress",
        },
    };
    format!("{kind} {}", spec.receiver_name())
}

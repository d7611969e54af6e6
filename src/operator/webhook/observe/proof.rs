//! Proves that a webhook's URL leads to its own receiver, before a subscription with that URL is adopted.

use jiff::Timestamp;

use crate::operator::webhook::{
    challenge::Challenge,
    context::Context,
    observed::{Observed, ProbeResult},
    ownership,
    spec::Spec,
    state::WebhookState,
};

/// The number of probes in a row that must succeed. One of several receivers behind the URL could answer a single one.
const PROBES: usize = 3;

/// Whether the URL provably leads to the webhook's receiver. Probes only if a subscription needs this proof and the last
/// probe has succeeded; a failure replaces the result of that `probe`.
pub(super) async fn leads_here(
    context: &Context,
    (spec, observed): (&Spec, &Observed),
    probe: &mut ProbeResult,
    (challenge, now): (Option<&Challenge>, Timestamp),
    state: &mut WebhookState,
) -> bool {
    let (true, Some(challenge)) = (ownership::needs_proof(spec, observed), challenge) else { return false };
    if !matches!(probe, ProbeResult::Succeeded { .. }) {
        return false;
    }
    if state.is_proven(&spec.url, now) {
        return true;
    }
    for _ in 0..PROBES {
        let result = context.receivers.prober.probe(&spec.url, Some(challenge)).await;
        if !matches!(result, ProbeResult::Succeeded { .. }) {
            state.probed(&spec.url, result.clone(), false, now);
            *probe = result;
            return false;
        }
    }
    state.proven(&spec.url, now);
    true
}

//! Requests to send dead letters again: a user sets an annotation, and the receiver performs it. Each value is handled
//! once, whether it is accepted or rejected.

use crate::{
    operator::{
        kubernetes::conditions::Finding,
        webhook::{
            observed::Observed,
            plan::{HandledRedrive, Step},
            spec::Spec,
        },
    },
    route::redrive::{RedriveRequest, Selection},
};

/// Maximum length of the annotation's value, in bytes: the receiver's limit.
const VALUE_MAX: usize = 256;
/// The beginning of the remark about a request that waits, which also failed steps add.
const REMARK: &str = "; the requested redrive waits";
/// The selector of the dead letters of all sinks.
const ALL: &str = "*";

/// Adds the step for the pending request, or, while the receiver cannot handle it, a remark to the finding for
/// `Delivering`. Returns the request if it is rejected.
pub(super) fn decide(
    spec: &Spec,
    observed: &Observed,
    steps: &mut Vec<Step>,
    delivering: &mut Finding,
) -> Option<HandledRedrive> {
    // The finding may be that of the status, with the remark of an earlier reconciliation.
    if let Some(at) = delivering.message.find(REMARK) {
        delivering.message.truncate(at);
    }
    let value = observed.redrive_request.as_ref()?;
    let request = match request(spec, value) {
        Ok(request) => request,
        Err(problem) => return Some(HandledRedrive { request: value.clone(), result: Err(problem) }),
    };
    let receiver = &observed.receiver;
    match (receiver.pod.as_ref().and_then(|pod| pod.address), &receiver.status) {
        // A receiver with an older route may not have the sink yet.
        (Some(address), Some(status)) if status.route_digest == observed.route_digest => {
            steps.push(Step::Redrive { address, request });
        }
        (Some(_), Some(_)) => wait(delivering, "the receiver has not loaded the current route yet"),
        (Some(_), None) | (None, _) => wait(delivering, "the receiver's status cannot be read"),
    }
    None
}

fn wait(delivering: &mut Finding, problem: &str) {
    delivering.message = format!("{}{REMARK}: {problem}", delivering.message);
}

/// The request for the annotation's value: `SINK TEXT`, `* TEXT` or `OLD:NEW TEXT`. The text only makes it unique.
///
/// # Errors
/// The reason why it is rejected, with the remedy.
fn request(spec: &Spec, value: &str) -> Result<RedriveRequest, String> {
    if spec.is_external() {
        return Err("with endpoint.type External, there is no receiver that stores events".to_owned());
    }
    if value.len() > VALUE_MAX || value.chars().any(char::is_control) {
        return Err(format!("the value must have at most {VALUE_MAX} bytes, without control characters"));
    }
    let mut words = value.split_whitespace();
    let (Some(selector), Some(_)) = (words.next(), words.next()) else {
        return Err(r#"the value must be "SINK TIME", "* TIME" or "OLD:NEW TIME""#.to_owned());
    };
    let known = |name: &str| spec.sinks.iter().any(|sink| sink.name == name);
    let (sink, target) = match selector.split_once(':') {
        None if selector == ALL => (None, None),
        None if known(selector) => (Some(selector), None),
        None => {
            return Err(format!(
                "spec.sinks has no sink {selector}: to send its dead letters to another sink, write \
                 \"{selector}:SINK TIME\""
            ));
        }
        Some(("" | ALL, _)) => {
            return Err("a sink to send to needs the name of one sink whose dead letters to send".to_owned());
        }
        Some((old, new)) if known(new) => (Some(old), Some(new)),
        Some((_, new)) => return Err(format!("spec.sinks has no sink {new} to send to")),
    };
    Ok(RedriveRequest {
        id: value.to_owned(),
        select: Selection::DeadLetters { sink: sink.map(str::to_owned) },
        target_sink: target.map(str::to_owned),
        max_per_second: None,
    })
}

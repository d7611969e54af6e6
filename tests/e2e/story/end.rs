//! Steps: what the API server refuses, and the end of the webhook.

use anyhow::{Result, ensure};

use super::{NAMESPACE, Story, marketing};
use crate::{call::kubectl, wait};

/// The example with one thing wrong, and a part of what must be said about it.
const BROKEN: [(&str, &str, &str); 3] = [
    (
        "exposure: {type: Service}",
        "exposure: {type: None}",
        "endpoint.managed.host is missing: write the public host name",
    ),
    (
        "http://event-sink.marketing.svc.cluster.local/",
        "event-sink:80",
        "http.url must be an absolute http:// or https:// URL",
    ),
    (
        "name: links-to-cms",
        "name: 1-link",
        "metadata.name must be lower case letters, digits and '-', starting with a letter",
    ),
];

pub(super) fn broken_is_refused(story: &mut Story) -> Result<()> {
    let example = std::fs::read_to_string(format!("{}/examples/quickstart/4-webhook.yaml", crate::call::ROOT))?;
    for (right, wrong, message) in BROKEN {
        ensure!(example.contains(right), "the example has no `{right}`");
        story.narrator.say(&format!("the example with `{wrong}`:"));
        let apply = kubectl("apply --filename -").input(example.replace(right, wrong));
        let refusal = story.narrator.show_refusal(&apply)?;
        ensure!(refusal.contains(message), "the refusal does not say `{message}`: {refusal}");
    }
    let manual = story.show(&kubectl("explain linktreewebhook.spec.signing"))?;
    ensure!(manual.contains("timestampToleranceSeconds"), "kubectl explain knows nothing of it: {manual}");
    Ok(())
}

pub(super) fn delete(story: &mut Story) -> Result<()> {
    story.nothing_else_arrived()?;
    story.show(&marketing("delete ltw links-to-cms --timeout=60s"))?;
    let left: Vec<_> = story.simulator.state()?.subscriptions.into_iter().map(|it| it.url).collect();
    story.narrator.say(&format!("subscriptions at Linktree, of whomever: {left:?}"));
    let owned = "get statefulsets,pods,services,networkpolicies,serviceaccounts,persistentvolumeclaims \
                 --selector=app.kubernetes.io/instance=links-to-cms --output=name";
    wait::until("the receiver's objects are gone", 60, || {
        Ok(marketing(owned).output()?.trim().is_empty().then_some(()))
    })?;
    let secrets = marketing("get secrets --output=name").output()?;
    ensure!(!secrets.contains("links-to-cms"), "Secrets are left: {secrets}");
    story.show(&kubectl(&format!("--namespace={NAMESPACE} get ltw,statefulset,persistentvolumeclaim")))?;
    Ok(())
}

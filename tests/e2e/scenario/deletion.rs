//! Step: the webhook and all objects of its receiver are deleted.

use anyhow::{Result, ensure};

use super::{NAMESPACE, Scenario, marketing};
use crate::{call::kubectl, wait};

pub(super) fn delete(scenario: &mut Scenario) -> Result<()> {
    scenario.nothing_else_arrived()?;
    scenario.show(&marketing("delete ltw links-to-cms --timeout=60s"))?;
    let left: Vec<_> = scenario.simulator.state()?.subscriptions.into_iter().map(|it| it.url).collect();
    scenario.transcript.note(&format!("subscriptions at Linktree, all accounts: [{}]", left.join(", ")));
    let owned = "get statefulsets,pods,services,networkpolicies,serviceaccounts \
                 --selector=app.kubernetes.io/instance=links-to-cms --output=name";
    wait::until("the receiver's objects are gone", 60, || {
        Ok(marketing(owned).output()?.trim().is_empty().then_some(()))
    })?;
    let secrets = marketing("get secrets --output=name").output()?;
    ensure!(!secrets.contains("links-to-cms"), "Secrets are left: {secrets}");
    scenario.show(&kubectl(&format!("--namespace={NAMESPACE} get ltw,statefulset,persistentvolumeclaim")))?;
    Ok(())
}

//! Two clusters with the same manifest on one account, as in a blue/green deployment, a restore drill, or a staging
//! environment from the same Git repository. The copy must not touch the subscription of the live cluster.

use rand::{Rng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    gate::{Fate, Peer},
    linktree::{Linktree, SECOND_TOKEN},
    row::{Row, count},
    sample::sample,
    time, workers,
};

/// The way in which the copy comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    /// The live webhook is ready.
    Later,
    /// As [`Copy::Later`], with the Secrets of the live cluster.
    Restored,
    /// Both clusters begin at once, and the URL leads to the live one.
    AtOnce,
    /// As [`Copy::Later`], with another token of the account, and the live cluster's is rotated, too.
    OtherToken,
    /// The live webhook has lost its status in a restore at the same time.
    StatusLost,
    /// The URL leads to both clusters in turn.
    InTurn,
}

const COPIES: [Copy; 6] = [Copy::Later, Copy::Restored, Copy::AtOnce, Copy::OtherToken, Copy::StatusLost, Copy::InTurn];

#[derive(Clone, Debug)]
struct Case {
    copy: Copy,
    external: bool,
    /// The number of the copy's write at which its operator dies, and whether after it took effect.
    death: Option<(usize, bool)>,
    /// Whether the copy's first list lacks the subscription.
    blind: bool,
    seed: u64,
}

impl Case {
    fn spec(&self, spec: &mut Value) {
        if self.external {
            spec["endpoint"] = json!({"type": "External", "external": {"url": "https://hooks.example.com/in"}});
            spec.as_object_mut().unwrap().remove("sinks");
        }
    }

    /// Whether the result is not decidable: of two registrations in one second, the answer to one was lost in a crash.
    fn is_undecidable(&self) -> bool {
        self.external && self.copy == Copy::AtOnce && self.death.is_some()
    }
}

fn cases(row: &Row) -> Vec<Case> {
    let mut rng = row.rng();
    let mut cases = Vec::new();
    for copy in COPIES {
        for external in [false, true] {
            for number in 0..4 {
                let death = (number > 0).then(|| (rng.random_range(0..12), rng.random()));
                let blind = *[false, true].choose(&mut rng).unwrap();
                cases.push(Case { copy, external, death, blind, seed: rng.random() });
            }
        }
    }
    cases.retain(|case| !(case.is_undecidable() || case.external && case.copy == Copy::InTurn));
    cases
}

/// Copies the Secrets of the live cluster, whose owners do not exist in the copy.
fn restore(live: &Cluster, copy: &Cluster) {
    for name in ["links-receiver-route", "links-signing"] {
        if let Some(secret) = live.get("Secret", name) {
            let metadata = json!({
                "annotations": secret["metadata"]["annotations"], "labels": secret["metadata"]["labels"],
                "ownerReferences": secret["metadata"]["ownerReferences"].as_array().map(|owners| {
                    owners.iter().map(|owner| {
                        let mut owner = owner.clone();
                        owner["uid"] = "uid-of-another-cluster".into();
                        owner
                    }).collect::<Vec<_>>()
                }),
            });
            copy.apply("Secret", name, json!({"metadata": metadata, "data": secret["data"]})).unwrap();
        }
    }
}

fn kill(copy: &Cluster, case: &Case) {
    let (mut death, mut effects) = (case.death, 0);
    copy.calls.judge(Box::new(move |call| {
        if !call.is_effect {
            return Fate::Passes;
        }
        effects += 1;
        match death {
            Some((at, after)) if at + 1 == effects => {
                death = None;
                if after { Fate::DiesAfter } else { Fate::DiesBefore }
            }
            Some(_) | None => Fate::Passes,
        }
    }));
}

/// The copy's writes to Linktree, without registrations, of which Linktree rejects a second one.
fn touched(copy: &Cluster) -> Vec<String> {
    let made = copy.calls.made().into_iter().filter(|call| call.peer == Peer::Linktree && call.is_effect);
    made.map(|call| call.what).filter(|what| what != "POST /v1/webhooks").collect()
}

async fn play(case: &Case) -> Result<Vec<String>, String> {
    let linktree = Linktree::rejecting_second(case.seed);
    let live = Cluster::start_with(linktree.clone(), 1);
    let copy = Cluster::start_with(linktree.clone(), 1);
    kill(&copy, case);
    match case.copy {
        Copy::InTurn => copy.node.lead_to(&[&live.node, &copy.node]),
        Copy::Later | Copy::Restored | Copy::AtOnce | Copy::OtherToken | Copy::StatusLost => {
            copy.node.lead_to(&[&live.node]);
        }
    }
    live.connect();
    live.webhook("links", |spec| case.spec(spec));
    if case.copy != Copy::AtOnce {
        live.until_condition("links", "Ready", "True").await?;
        time::pass(30).await;
    }
    match case.copy {
        Copy::Restored => restore(&live, &copy),
        Copy::OtherToken => live.put_secret("linktree-api", "token", SECOND_TOKEN),
        Copy::StatusLost => {
            live.kubernetes
                .put_raw(&live.key("LinktreeWebhook", "links"), |object| object["status"] = json!({}))
                .unwrap();
        }
        Copy::Later | Copy::AtOnce | Copy::InTurn => {}
    }
    copy.connect();
    if case.copy == Copy::OtherToken {
        copy.put_secret("linktree-api", "token", SECOND_TOKEN);
    }
    if case.blind && case.copy != Copy::AtOnce {
        linktree.set_quirk(Some(crate::linktree::Quirk::OmitsFirst));
    }
    copy.webhook("links", |spec| case.spec(spec));
    time::pass(1800).await;
    let waits = |cluster: &Cluster| cluster.condition("links", "Registered");
    let mut violations = Vec::new();
    // An external receiver cannot prove that a subscription is its cluster's: after a lost status, the user must say so.
    let (owner, other) = match (waits(&live).starts_with("True"), waits(&copy).starts_with("True")) {
        (true, false) => (&live, &copy),
        (false, true) if case.copy == Copy::AtOnce && case.external => (&copy, &live),
        (false, false) if case.copy == Copy::StatusLost && case.external => (&live, &copy),
        registered => return Err(format!("registered: {registered:?}\n{}\n{}", live.describe(), copy.describe())),
    };
    if !waits(other).contains("AwaitingProof") {
        violations.push(format!("the other cluster has Registered={}", waits(other)));
    }
    let [before] = linktree.subscriptions().try_into().map_err(|all| format!("{all:?}"))?;
    other.delete("LinktreeWebhook", "links");
    other.until("the other webhook is gone", || other.get("LinktreeWebhook", "links").is_none()).await?;
    time::pass(300).await;
    let after = linktree.subscriptions();
    if after.len() != 1 || after[0].id != before.id || after[0].secret != before.secret {
        violations.push(format!("the subscription of the live cluster was changed: {before:?}, then {after:?}"));
    }
    if !touched(other).is_empty() {
        violations.push(format!("the other cluster has made {:?}", touched(other)));
    }
    if linktree.most_of_one_url() > 1 {
        violations.push("the url had two subscriptions".to_owned());
    }
    if !(waits(owner).starts_with("True") || case.copy == Copy::StatusLost && case.external) {
        violations.push(format!("the live cluster has Registered={}", waits(owner)));
    }
    Ok(violations)
}

#[test]
fn two_clusters() {
    let mut row = Row::new("two clusters on one account", "two_clusters");
    let cases = sample(&row, cases(&row), count(usize::MAX, 12));
    row.tried(cases.len());
    let run = |case: &Case| time::simulated(play(case)).unwrap_or_else(|problem| vec![problem]);
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        violations.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}

/// A cluster that replaces the live one: once the URL leads to it, it adopts the subscription.
#[test]
fn the_copy_takes_over_once_the_url_leads_to_it() {
    let adopted = time::simulated(async {
        let linktree = Linktree::rejecting_second(1);
        let (green, blue) = (Cluster::start_with(linktree.clone(), 1), Cluster::start_with(linktree.clone(), 1));
        blue.settled("links").await?;
        green.node.lead_to(&[&blue.node]);
        green.connect();
        green.webhook("links", |_| {});
        green.until_condition("links", "Registered", "False AwaitingProof").await?;
        blue.node.lead_to(&[&green.node]);
        green.node.lead_to(&[]);
        green.until_condition("links", "Ready", "True").await?;
        let posts = green.calls.made().into_iter().filter(|call| call.what == "POST /v1/webhooks").count();
        Ok::<_, String>((posts, linktree.subscriptions().len(), green.condition("links", "Registered")))
    });
    assert_eq!(adopted.unwrap(), (0, 1, "True Adopted".to_owned()));
}

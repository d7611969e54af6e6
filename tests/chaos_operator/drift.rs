//! Drift at Linktree: manual changes there, while its list is correct, omits an item once, repeats a page, or has items
//! twice.

use linktree_operator::linktree::wire::{SubscriptionStatus, UpdateSubscription};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    linktree::{Linktree, Quirk},
    oracle,
    row::{Row, count},
    sample::sample,
    time, workers,
};

/// A manual change of the webhook's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    Deletes,
    Disables,
    EditsEvents,
    EditsUrl,
    Duplicates,
    DeletesAndMakesAnother,
}

const CHANGES: [Change; 7] = [
    Change::Nothing,
    Change::Deletes,
    Change::Disables,
    Change::EditsEvents,
    Change::EditsUrl,
    Change::Duplicates,
    Change::DeletesAndMakesAnother,
];
const QUIRKS: [Option<Quirk>; 4] = [None, Some(Quirk::OmitsFirst), Some(Quirk::RepeatsPage), Some(Quirk::TwiceOnAPage)];

#[derive(Clone, Copy, Debug)]
struct Case {
    change: Change,
    quirk: Option<Quirk>,
    seed: u64,
}

impl Change {
    fn act(self, linktree: &Linktree) {
        let Some(ours) = linktree.subscriptions().into_iter().find(|it| it.url.contains("hooks.example.com")) else {
            return;
        };
        let edit = |change: UpdateSubscription| linktree.edit(&ours.id, change);
        match self {
            Change::Nothing => {}
            Change::Deletes => linktree.remove(&ours.id),
            Change::Disables => {
                edit(UpdateSubscription { status: Some(SubscriptionStatus::Disabled), ..Default::default() });
            }
            Change::EditsEvents => {
                edit(UpdateSubscription {
                    events: Some(vec!["profile.updated".parse().unwrap()]),
                    ..Default::default()
                });
            }
            Change::EditsUrl => {
                edit(UpdateSubscription { url: Some("https://elsewhere.example.com/".into()), ..Default::default() });
            }
            Change::Duplicates => drop(linktree.add(&ours.url, &["link.created"])),
            Change::DeletesAndMakesAnother => {
                linktree.remove(&ours.id);
                linktree.add(&ours.url, &["link.deleted"]);
            }
        }
    }
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        // A foreign subscription, so that a page has more than ours.
        cluster.linktree.add("https://other.example.com/", &["link.created"]);
        if let Err(problem) = cluster.settled("links").await {
            return vec![problem];
        }
        let mut random = StdRng::seed_from_u64(case.seed);
        time::pass(random.random_range(0..100)).await;
        let before = subscription_id(&cluster);
        case.change.act(&cluster.linktree);
        cluster.linktree.set_quirk(case.quirk);
        time::pass(random.random_range(0..200)).await;
        let mut violations: Vec<String> =
            cluster.until("the subscription is in sync", || is_in_sync(&cluster)).await.err().into_iter().collect();
        violations.extend(cluster.until_quiet().await.err());
        if !is_in_sync(&cluster) {
            violations.push(format!("the subscription does not stay in sync\n{}", cluster.describe()));
        }
        let manual = usize::from(case.change == Change::Duplicates);
        let ours =
            cluster.linktree.subscriptions().into_iter().filter(|it| it.url.contains("hooks.example.com")).count();
        if ours != 1 + manual {
            violations
                .push(format!("{ours} subscriptions, {manual} of them created manually\n{}", cluster.last_calls(20)));
        }
        let moved = subscription_id(&cluster) != before;
        if moved
            && matches!(
                case.change,
                Change::Nothing | Change::Disables | Change::EditsEvents | Change::EditsUrl | Change::Duplicates
            )
        {
            violations.push("the subscription was replaced by another".to_owned());
        }
        // Two subscriptions with one url are manual here, or counted above.
        violations.extend(
            oracle::invariants(&cluster)
                .into_iter()
                .filter(|what| !what.contains("one webhook had") && !what.contains("its secret is not")),
        );
        violations
    })
}

fn subscription_id(cluster: &Cluster) -> Value {
    cluster.status("links")["subscription"]["id"].clone()
}

/// Whether the webhook is ready, and its subscription matches the spec.
fn is_in_sync(cluster: &Cluster) -> bool {
    let id = subscription_id(cluster);
    let known = cluster.linktree.subscriptions();
    let Some(ours) = known.iter().find(|it| json!(it.id) == id) else { return false };
    let events: Vec<&str> = ours.events.iter().map(|event| event.as_str()).collect();
    ours.url.contains("hooks.example.com")
        && ours.disabled.is_none()
        && events == ["link.created", "link.updated"]
        && cluster.condition("links", "Ready").starts_with("True")
        && cluster.condition("links", "UpToDate").starts_with("True")
        && cluster.secret("links-signing", "secret").as_deref() == Some(ours.secret.expose())
}

#[test]
fn linktree_drifts() {
    let mut row = Row::new("Linktree drift and amnesia", "linktree_drifts");
    let mut cases = Vec::new();
    for seed in 0..5 {
        for change in CHANGES {
            cases.extend(QUIRKS.map(|quirk| Case { change, quirk, seed: row.seed * 100 + seed }));
        }
    }
    let cases = sample(&row, cases, count(140, 14));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        violations.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}

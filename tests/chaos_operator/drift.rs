//! Linktree drifts and forgets: what somebody does there by hand, while its list is right, or omits an item once, or
//! repeats a page.

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

/// What somebody does to the webhook's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    Nothing,
    Deletes,
    Disables,
    EditsEvents,
    EditsUrl,
    Duplicates,
    DeletesAndMakesAnother,
}

const HANDS: [Hand; 7] = [
    Hand::Nothing,
    Hand::Deletes,
    Hand::Disables,
    Hand::EditsEvents,
    Hand::EditsUrl,
    Hand::Duplicates,
    Hand::DeletesAndMakesAnother,
];
const QUIRKS: [Option<Quirk>; 4] = [None, Some(Quirk::OmitsFirst), Some(Quirk::RepeatsPage), Some(Quirk::TwiceOnAPage)];

#[derive(Clone, Copy, Debug)]
struct Case {
    hand: Hand,
    quirk: Option<Quirk>,
    seed: u64,
}

impl Hand {
    fn act(self, linktree: &Linktree) {
        let Some(ours) = linktree.subscriptions().into_iter().find(|it| it.url.contains("hooks.example.com")) else {
            return;
        };
        let edit = |change: UpdateSubscription| linktree.edit(&ours.id, change);
        match self {
            Hand::Nothing => {}
            Hand::Deletes => linktree.remove(&ours.id),
            Hand::Disables => {
                edit(UpdateSubscription { status: Some(SubscriptionStatus::Disabled), ..Default::default() });
            }
            Hand::EditsEvents => {
                edit(UpdateSubscription {
                    events: Some(vec!["profile.updated".parse().unwrap()]),
                    ..Default::default()
                });
            }
            Hand::EditsUrl => {
                edit(UpdateSubscription { url: Some("https://elsewhere.example.com/".into()), ..Default::default() });
            }
            Hand::Duplicates => drop(linktree.add(&ours.url, &["link.created"])),
            Hand::DeletesAndMakesAnother => {
                linktree.remove(&ours.id);
                linktree.add(&ours.url, &["link.deleted"]);
            }
        }
    }
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        // Somebody else's, so that there is more on a page than ours.
        cluster.linktree.add("https://other.example.com/", &["link.created"]);
        if let Err(problem) = cluster.settled("links").await {
            return vec![problem];
        }
        let mut random = StdRng::seed_from_u64(case.seed);
        time::pass(random.random_range(0..100)).await;
        let before = subscription_id(&cluster);
        case.hand.act(&cluster.linktree);
        cluster.linktree.misbehave(case.quirk);
        time::pass(random.random_range(0..200)).await;
        let mut violations: Vec<String> =
            cluster.until("it is as it was", || is_right(&cluster)).await.err().into_iter().collect();
        violations.extend(cluster.until_quiet().await.err());
        if !is_right(&cluster) {
            violations.push(format!("it does not stay as it was\n{}", cluster.describe()));
        }
        let by_hand = usize::from(case.hand == Hand::Duplicates);
        let ours =
            cluster.linktree.subscriptions().into_iter().filter(|it| it.url.contains("hooks.example.com")).count();
        if ours != 1 + by_hand {
            violations
                .push(format!("{ours} subscriptions, {by_hand} of them made by hand\n{}", cluster.last_calls(20)));
        }
        let moved = subscription_id(&cluster) != before;
        if moved
            && matches!(
                case.hand,
                Hand::Nothing | Hand::Disables | Hand::EditsEvents | Hand::EditsUrl | Hand::Duplicates
            )
        {
            violations.push("its subscription was given up for another".to_owned());
        }
        // Two of one url are a person's doing here, or counted above.
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

/// Ready, and Linktree has what the spec says.
fn is_right(cluster: &Cluster) -> bool {
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
        for hand in HANDS {
            cases.extend(QUIRKS.map(|quirk| Case { hand, quirk, seed: row.seed * 100 + seed }));
        }
    }
    let cases = sample(&row, cases, count(140, 14));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        violations.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}

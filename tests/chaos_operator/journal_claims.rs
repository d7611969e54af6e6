//! The claims of the journals: they outlive their webhook by an hour, whatever the clock shows and whenever the operator
//! restarts, and a webhook that is recreated or restored takes its journal up.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NAMESPACE, ScenarioResult},
    kubernetes::Part,
    time,
};

const CLAIM: &str = "journal-links-receiver-0";
const SINCE: &str = "webhooks.linktree-operator.dev/unused-since-time";
const HOUR: u64 = 3600;

fn simulated(case: impl Future<Output = ScenarioResult>) {
    if let Err(problem) = time::simulated(case) {
        panic!("{problem}");
    }
}

/// Creates the claim as the StatefulSet controller does. Returns its uid.
fn create_claim(cluster: &Cluster) -> Value {
    let set = cluster.get("StatefulSet", "links-receiver").unwrap();
    let template = &set["spec"]["volumeClaimTemplates"][0];
    let claim = json!({"metadata": template["metadata"], "spec": template["spec"]});
    cluster.apply("PersistentVolumeClaim", CLAIM, claim).unwrap()["metadata"]["uid"].clone()
}

fn claim(cluster: &Cluster) -> Option<Value> {
    cluster.get("PersistentVolumeClaim", CLAIM)
}

fn is_marked(cluster: &Cluster) -> bool {
    claim(cluster).is_some_and(|claim| claim["metadata"]["annotations"][SINCE].is_string())
}

/// A ready webhook with a claim. Returns the uid of the claim.
async fn with_journal(cluster: &Cluster) -> Result<Value, String> {
    cluster.settled("links").await?;
    Ok(create_claim(cluster))
}

async fn until_gone(cluster: &Cluster) -> ScenarioResult {
    cluster.until("the webhook is gone", || cluster.get("LinktreeWebhook", "links").is_none()).await
}

async fn until_marked(cluster: &Cluster) -> ScenarioResult {
    cluster.until("the claim is marked", || is_marked(cluster)).await
}

/// A ready webhook, deleted, with the mark on its claim.
async fn with_mark(cluster: &Cluster) -> ScenarioResult {
    with_journal(cluster).await?;
    cluster.delete("LinktreeWebhook", "links");
    until_gone(cluster).await?;
    until_marked(cluster).await
}

#[test]
fn a_claim_outlives_its_webhook_by_an_hour() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        let uid = with_journal(&cluster).await?;
        assert!(claim(&cluster).unwrap()["metadata"]["ownerReferences"].is_null());
        time::pass(2 * HOUR).await;
        assert!(claim(&cluster).is_some() && !is_marked(&cluster), "its webhook uses it");
        cluster.delete("LinktreeWebhook", "links");
        until_gone(&cluster).await?;
        time::pass(10).await;
        assert!(is_marked(&cluster), "it is marked when the webhook goes");
        time::pass(HOUR - 60).await;
        assert_eq!(claim(&cluster).map(|it| it["metadata"]["uid"].clone()), Some(uid));
        time::pass(180).await;
        assert_eq!(claim(&cluster), None, "it is deleted after the hour");
        Ok(())
    });
}

#[test]
fn a_webhook_of_the_same_name_takes_the_journal_up() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        let uid = with_journal(&cluster).await?;
        for wait in [1, 30 * 60, HOUR - 120] {
            cluster.delete("LinktreeWebhook", "links");
            until_gone(&cluster).await?;
            until_marked(&cluster).await?;
            time::pass(wait).await;
            cluster.webhook("links", |_| {});
            cluster.until_condition("links", "Ready", "True").await?;
            time::pass(65).await;
            assert!(!is_marked(&cluster), "the mark goes");
            time::pass(2 * HOUR).await;
            assert_eq!(claim(&cluster).map(|it| it["metadata"]["uid"].clone()), Some(uid.clone()));
        }
        Ok(())
    });
}

#[test]
fn restarts_neither_shorten_the_hour_nor_forget_the_claim() {
    simulated(async {
        let mut cluster = Cluster::start(1, 1);
        with_mark(&cluster).await?;
        let mut passed = 0;
        while passed < HOUR - 120 {
            time::pass(20 * 60).await;
            passed += 20 * 60;
            if passed < HOUR - 120 {
                assert!(claim(&cluster).is_some());
                cluster.restart_operators().await;
            }
        }
        assert!(claim(&cluster).is_some(), "each restart begins at what was recorded");
        time::pass(15 * 60).await;
        assert_eq!(claim(&cluster), None, "three restarts cost at most three records");
        Ok(())
    });
}

/// A webhook that goes while no operator runs, as with its finalizer removed by hand.
#[test]
fn a_claim_is_found_although_no_operator_saw_its_webhook_go() {
    simulated(async {
        let mut cluster = Cluster::start(1, 1);
        with_journal(&cluster).await?;
        cluster.end_operators();
        cluster.change("LinktreeWebhook", "links", &json!({"metadata": {"finalizers": null}})).unwrap();
        cluster.delete("LinktreeWebhook", "links");
        time::pass(24 * HOUR).await;
        cluster.add_operator();
        until_marked(&cluster).await?;
        time::pass(HOUR - 120).await;
        assert!(claim(&cluster).is_some());
        time::pass(240).await;
        assert_eq!(claim(&cluster), None);
        Ok(())
    });
}

#[test]
fn a_clock_that_jumps_deletes_nothing_early() {
    for days in [-400, -1, 1, 400] {
        simulated(async {
            let mut cluster = Cluster::start(1, 1);
            with_mark(&cluster).await?;
            time::set_clock_error(SignedDuration::from_hours(24 * days));
            time::pass(20 * 60).await;
            assert!(claim(&cluster).is_some(), "{days} days");
            cluster.restart_operators().await;
            time::pass(30 * 60).await;
            assert!(claim(&cluster).is_some(), "{days} days, and another process");
            time::pass(20 * 60).await;
            assert_eq!(claim(&cluster), None, "{days} days");
            Ok(())
        });
    }
}

/// The metadata without what only the API server sets.
fn saved(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "finalizers"] {
        metadata.remove(field);
    }
    object.as_object_mut().unwrap().remove("status");
    object
}

/// The namespace is saved, deleted and restored in any order, with owner references to uids that are dead.
#[test]
fn a_restored_namespace_comes_up_with_its_journal() {
    for webhook_first in [true, false] {
        simulated(async {
            let mut cluster = Cluster::start(1, 1);
            with_journal(&cluster).await?;
            let everything: Vec<_> = cluster
                .kubernetes
                .everything()
                .into_iter()
                .filter(|(key, _)| !["Pod", "Event", "Lease"].contains(&key.kind.kind) && key.namespace == NAMESPACE)
                .collect();
            cluster.end_operators();
            for (key, _) in &everything {
                // A namespace's deletion does not wait for an operator that is gone.
                drop(cluster.kubernetes.merge(key, Part::Main, &json!({"metadata": {"finalizers": null}})));
                drop(cluster.kubernetes.delete(key));
            }
            time::pass(60).await;
            cluster.add_operator();
            let (first, second): (Vec<_>, Vec<_>) =
                everything.into_iter().partition(|(key, _)| (key.kind.kind == "LinktreeWebhook") == webhook_first);
            for (key, object) in first.into_iter().chain(second) {
                // The operator may have created its objects by now: a restore leaves them alone.
                if cluster.kubernetes.get(&key).is_none() {
                    cluster.kubernetes.apply(&key, "velero", saved(object)).unwrap();
                }
            }
            let uid = claim(&cluster).unwrap()["metadata"]["uid"].clone();
            cluster.until_condition("links", "Ready", "True").await?;
            time::pass(3 * HOUR).await;
            cluster.until_condition("links", "Ready", "True").await?;
            let webhook = cluster.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"].clone();
            let set = cluster.get("StatefulSet", "links-receiver").unwrap();
            assert_eq!(set["metadata"]["ownerReferences"][0]["uid"], webhook);
            let restored = claim(&cluster).unwrap();
            assert_eq!(restored["metadata"]["uid"], uid, "the journal is another one");
            assert!(!is_marked(&cluster));
            Ok(())
        });
    }
}

/// Deletes the webhook as `kubectl delete --cascade=orphan` does: its objects stay, without owner.
async fn orphan(cluster: &Cluster) -> ScenarioResult {
    let owned: Vec<_> = cluster
        .kubernetes
        .everything()
        .into_iter()
        .filter(|(_, object)| object["metadata"]["ownerReferences"][0]["kind"] == "LinktreeWebhook")
        .collect();
    cluster.delete("LinktreeWebhook", "links");
    for (key, _) in &owned {
        let disowned = json!({"metadata": {"ownerReferences": null}});
        cluster.kubernetes.merge(key, Part::Main, &disowned).unwrap();
    }
    until_gone(cluster).await
}

#[test]
fn a_recreated_webhook_takes_up_orphaned_objects() {
    for capacity in ["1Gi", "2Gi"] {
        simulated(async {
            let cluster = Cluster::start(1, 1);
            let uid = with_journal(&cluster).await?;
            let uid_of_set = || cluster.get("StatefulSet", "links-receiver").unwrap()["metadata"]["uid"].clone();
            let before = uid_of_set();
            orphan(&cluster).await?;
            // The orphaned pod runs: its claim stays, however long.
            time::pass(5 * HOUR).await;
            assert!(is_marked(&cluster));
            cluster.webhook("links", |spec| spec["receiver"] = json!({"journal": {"capacity": capacity}}));
            cluster.until_condition("links", "Ready", "True").await?;
            time::pass(65).await;
            assert_eq!(uid_of_set(), before);
            assert_eq!(claim(&cluster).map(|it| it["metadata"]["uid"].clone()), Some(uid.clone()));
            assert!(!is_marked(&cluster));
            let webhook = cluster.get("LinktreeWebhook", "links").unwrap()["metadata"]["uid"].clone();
            let set = cluster.get("StatefulSet", "links-receiver").unwrap();
            assert_eq!(set["metadata"]["ownerReferences"][0]["uid"], webhook, "{capacity}");
            Ok(())
        });
    }
}

#[test]
fn the_claim_of_an_orphaned_statefulset_is_deleted_an_hour_after_that_is() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        with_journal(&cluster).await?;
        orphan(&cluster).await?;
        time::pass(3 * HOUR).await;
        assert!(claim(&cluster).is_some());
        cluster.delete("StatefulSet", "links-receiver");
        // The last count may have begun up to five minutes before.
        time::pass(HOUR - 400).await;
        assert!(claim(&cluster).is_some());
        time::pass(600).await;
        assert_eq!(claim(&cluster), None);
        Ok(())
    });
}

/// Claims that are not the operator's, although they have its labels or its name.
#[test]
fn claims_of_others_are_left_alone() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        with_journal(&cluster).await?;
        let labels = claim(&cluster).unwrap()["metadata"]["labels"].clone();
        let living = cluster.get("Secret", "linktree-api").unwrap()["metadata"]["uid"].clone();
        let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": living}]);
        for (name, metadata) in [
            ("data-web-0", json!({"labels": labels})),
            ("journal-web-receiver-0", json!({})),
            ("journal-owned-receiver-0", json!({"labels": labels, "ownerReferences": owner})),
        ] {
            cluster.apply("PersistentVolumeClaim", name, json!({"metadata": metadata})).unwrap();
        }
        let others = || {
            let all = cluster.kubernetes.list("PersistentVolumeClaim", NAMESPACE);
            all.into_iter().filter(|claim| claim["metadata"]["name"] != CLAIM).collect::<Vec<_>>()
        };
        let before = others();
        time::pass(3 * HOUR).await;
        assert_eq!(others(), before);
        Ok(())
    });
}

/// An owner reference to the webhook, as an earlier version wrote it: the claim would go with the webhook.
#[test]
fn the_owner_reference_to_a_webhook_is_removed() {
    simulated(async {
        let cluster = Cluster::start(1, 1);
        let uid = with_journal(&cluster).await?;
        let webhook = cluster.get("LinktreeWebhook", "links").unwrap();
        let owner = json!([{
            "apiVersion": webhook["apiVersion"], "kind": "LinktreeWebhook", "name": "links", "uid": webhook["metadata"]["uid"],
        }]);
        cluster.change("PersistentVolumeClaim", CLAIM, &json!({"metadata": {"ownerReferences": owner}})).unwrap();
        time::pass(65).await;
        cluster.delete("LinktreeWebhook", "links");
        until_gone(&cluster).await?;
        time::pass(60).await;
        assert_eq!(claim(&cluster).map(|it| it["metadata"]["uid"].clone()), Some(uid));
        Ok(())
    });
}

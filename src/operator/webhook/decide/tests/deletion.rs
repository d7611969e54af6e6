//! Deletion of a webhook, and the steps about its subscription.

use super::*;
use crate::{
    api::webhook_status::Action,
    operator::{
        kubernetes::apply::{ownership::Foreign, standing::Standing},
        webhook::spec::Deletion,
    },
};

const DELETED: i64 = NOW - 60;

fn id(id: &str) -> SubscriptionId {
    SubscriptionId(id.into())
}

fn unsubscribe() -> Vec<Step> {
    vec![Step::Unsubscribe { id: id("wh_1") }, Step::RemoveFinalizer { orphan: None }]
}

fn deletion_steps(edit: impl FnOnce(&mut Value), observed: &Observed, now: i64) -> Vec<Step> {
    let object = webhook(edit);
    let url = Spec::parse(&object).unwrap().url;
    let plan =
        decide_deletion(Deletion::of(&object.spec.subscription), Some(url.as_str()), observed, at(DELETED), at(now));
    for condition_type in [ConditionType::Ready, ConditionType::Reconciling] {
        assert!(
            plan.findings
                .iter()
                .any(|(found, finding)| *found == condition_type && finding.reason == Reason::Terminating)
        );
    }
    plan.steps
}

#[test]
fn the_subscription_is_deleted_before_the_finalizer_is_removed() {
    type Case = (&'static str, fn(&mut Observed), Vec<Step>);
    let released = || vec![Step::RemoveFinalizer { orphan: None }];
    let cases: Vec<Case> = vec![
        ("registered", |_| {}, unsubscribe()),
        (
            "registered, and no longer in the list: a DELETE is harmless",
            |o| account(o).subscriptions.clear(),
            unsubscribe(),
        ),
        ("never registered", unregistered, released()),
        (
            "never registered, and no connection",
            |o| {
                unregistered(o);
                o.connection = Connection::Unlisted;
            },
            released(),
        ),
        ("the finalizer is removed already", |o| o.finalizer = false, vec![]),
        ("the account has not been listed yet", |o| o.connection = Connection::Unlisted, vec![]),
        ("requests are on hold", |o| o.hold_until = Some(at(NOW + 1)), vec![]),
        (
            "Linktree has no DELETE",
            |o| lacks(o, Call::Delete),
            vec![Step::RemoveFinalizer { orphan: Some("wh_1".into()) }],
        ),
        ("the hold is over", |o| o.hold_until = Some(at(NOW)), unsubscribe()),
        ("begun, the response lost, and in the list", |o| begun(o, NOW - 60), unsubscribe()),
        (
            "begun, and not in a later list",
            |o| {
                begun(o, NOW - 60);
                account(o).subscriptions.clear();
            },
            released(),
        ),
        (
            "begun after the list",
            |o| {
                begun(o, NOW - 5);
                account(o).subscriptions.clear();
            },
            vec![Step::RequestList],
        ),
        (
            "begun in this second: a list now would not be newer",
            |o| {
                begun(o, NOW + 1);
                account(o).subscriptions.clear();
            },
            vec![],
        ),
        (
            "timed out after the list began",
            |o| {
                begun(o, NOW - 60);
                o.unresolved = Some(at(NOW - 5));
                account(o).subscriptions.clear();
            },
            vec![Step::RequestList],
        ),
    ];
    for (sentence, change, steps) in cases {
        let mut observed = settled();
        change(&mut observed);
        assert_eq!(deletion_steps(|_| {}, &observed, NOW), steps, "{sentence}");
    }
}

#[test]
fn with_management_policy_observe_nothing_is_adopted() {
    let spec = Spec::parse(&webhook(|v| v["spec"]["subscription"] = json!({"managementPolicy": "Observe"}))).unwrap();
    let mut observed = settled();
    (observed.status.subscription, observed.leads_here) = (None, true);
    for _ in 0..2 {
        let subscription = decide(&spec, &observed, at(NOW)).subscription.unwrap();
        let planned: Vec<_> = subscription.plan.iter().map(|planned| planned.action).collect();
        assert_eq!((planned, &subscription.id), (vec![Action::Adopt], &None));
        observed.status.subscription = Some(subscription);
    }
}

#[test]
fn at_the_deadline_the_finalizer_is_removed_and_the_orphan_is_named() {
    let mut observed = settled();
    observed.connection = Connection::Unlisted;
    let at_deadline = |seconds| DELETED + seconds;
    assert_eq!(deletion_steps(|_| {}, &observed, at_deadline(3599)), []);
    let orphan = |orphan: &str| vec![Step::RemoveFinalizer { orphan: Some(orphan.into()) }];
    assert_eq!(deletion_steps(|_| {}, &observed, at_deadline(3600)), orphan("wh_1"));
    let short_deadline = |v: &mut Value| v["spec"]["subscription"] = json!({"deletionDeadlineSeconds": 10});
    assert_eq!(deletion_steps(short_deadline, &observed, at_deadline(10)), orphan("wh_1"));
    let retain = |v: &mut Value| v["spec"]["subscription"] = json!({"deletionPolicy": "Retain"});
    assert_eq!(deletion_steps(retain, &observed, NOW), [Step::RemoveFinalizer { orphan: None }]);
}

#[test]
fn between_two_attempts_the_message_has_the_last_failure() {
    let object = webhook(|_| {});
    let message = |observed: &Observed| {
        let terms = Deletion::of(&object.spec.subscription);
        let plan = decide_deletion(terms, None, observed, at(DELETED), at(NOW));
        plan.findings.into_iter().map(|(_, finding)| finding.message).collect::<BTreeSet<_>>()
    };
    let mut observed = settled();
    let fresh = message(&observed);
    observed.hold_until = Some(at(NOW + 1));
    assert_eq!(message(&observed), fresh, "the hold is from a request before the deletion");
    let previous = Finding::new(true, Reason::Terminating, "Linktree answered 503");
    observed.status.conditions = conditions::render(
        &[(ConditionType::Reconciling, previous)],
        &observed.status.conditions,
        Some(1),
        at(NOW - 1),
    );
    assert_eq!(message(&observed), BTreeSet::from(["Linktree answered 503".to_owned()]));
    observed.hold_until = Some(at(NOW));
    assert_eq!(message(&observed), fresh, "the next attempt is due");
}

/// A registration was begun, and its response was not recorded.
fn begun(observed: &mut Observed, second: i64) {
    observed.status.subscription = Some(registering(Some(Time(at(second)))));
}

#[test]
fn the_subscription_is_registered_once_after_any_result_of_an_earlier_attempt() {
    type Case = (&'static str, fn(&mut Observed), Vec<Step>);
    let creation = Creation::First;
    let record = Step::RecordRegistration { at: at(NOW + 1), creation };
    let register = || vec![Step::DryRunSecretWrite, record.clone(), Step::Register { creation }];
    let cases: Vec<Case> = vec![
        ("never attempted", |_| {}, register()),
        ("the URL does not lead to the receiver yet", |o| o.probe = ProbeResult::NotProbed, vec![]),
        ("the receiver is not ready", |o| pod(o).ready = false, vec![]),
        ("begun before the list, and not in it", |o| begun(o, NOW - 60), register()),
        ("begun after the list", |o| begun(o, NOW - 5), vec![Step::RequestList]),
        ("begun in this second", |o| begun(o, NOW + 1), vec![]),
        ("begun by a clock that is ahead", |o| begun(o, NOW + 3600), vec![]),
        (
            "timed out after the list began",
            |o| {
                begun(o, NOW - 60);
                o.unresolved = Some(at(NOW - 5));
            },
            vec![Step::RequestList],
        ),
        (
            "failed, and requests are on hold",
            |o| {
                begun(o, NOW - 60);
                o.hold_until = Some(at(NOW + 1));
            },
            vec![],
        ),
    ];
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for (sentence, change, steps) in cases {
        let mut observed = settled();
        unregistered(&mut observed);
        change(&mut observed);
        assert_eq!(decide(&spec, &observed, at(NOW)).steps, steps, "{sentence}");
    }
}

#[test]
fn an_existing_subscription_gets_only_the_steps_it_needs() {
    let rotate =
        || vec![Step::DryRunSecretWrite, Step::RotateSecret { id: id("wh_1"), keep_previous: false, request: None }];
    let cases: Vec<StepCase> = vec![
        ("nothing to do", |_| {}, vec![]),
        ("its secret is not stored", |o| o.keys = Keys::ProviderMissing(place("links-signing")), rotate()),
        ("the stored secret belongs to an earlier subscription", |o| o.secret_kept_for = Some(id("wh_0")), rotate()),
        ("the user stored the secret", |o| o.secret_kept_for = None, vec![]),
        ("another cluster's", |o| o.status.subscription = None, vec![]),
        (
            "it leads here",
            |o| {
                o.status.subscription = None;
                o.leads_here = true;
            },
            vec![Step::Adopt { id: id("wh_1") }],
        ),
        ("disabled, and the receiver is healthy", disabled, vec![Step::Reenable { id: id("wh_1") }]),
        (
            "disabled, and Linktree has no PATCH",
            |o| {
                disabled(o);
                lacks(o, Call::Update);
                lacks(o, Call::Reenable);
            },
            vec![Step::Unsubscribe { id: id("wh_1") }],
        ),
        (
            "disabled, and requests are on hold",
            |o| {
                disabled(o);
                o.hold_until = Some(at(NOW + 1));
            },
            vec![],
        ),
        ("no finalizer", |o| o.finalizer = false, vec![Step::AddFinalizer]),
    ];
    assert_steps(cases);
}

#[test]
fn an_object_or_a_pod_gets_only_the_steps_it_needs() {
    assert_steps(vec![
        (
            "an object is out of date",
            |o| drop(o.children.insert(Child::Service, Standing::missing())),
            vec![Step::Apply(Child::Service, None)],
        ),
        (
            "the route Secret is another's: no pod that would mount it is started",
            |o| {
                o.children.insert(Child::RouteSecret, Standing::Foreign(Foreign::Unlabeled));
                o.children.insert(Child::Service, Standing::missing());
                o.children.insert(Child::StatefulSet, Standing::missing());
            },
            vec![Step::Apply(Child::Service, None)],
        ),
        ("the receiver has an older route", |o| receiver_of(o).route_digest = "r0".into(), refresh()),
        (
            "the mount was refreshed already",
            |o| {
                receiver_of(o).route_digest = "r0".into();
                pod(o).route_digest = Some("r1".into());
            },
            vec![],
        ),
        (
            "the receiver's status cannot be read: it may have an older admin token",
            |o| o.receiver.status = None,
            refresh(),
        ),
        (
            "the pod is starting",
            |o| {
                o.receiver.status = None;
                pod(o).ready = false;
            },
            vec![],
        ),
    ]);
}

/// A sentence, a change of the observed state, and the steps of the decision.
type StepCase = (&'static str, fn(&mut Observed), Vec<Step>);

fn assert_steps(cases: Vec<StepCase>) {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for (sentence, change, steps) in cases {
        let mut observed = settled();
        change(&mut observed);
        assert_eq!(decide(&spec, &observed, at(NOW)).steps, steps, "{sentence}");
    }
}

fn refresh() -> Vec<Step> {
    vec![Step::RefreshPodMount { pod: "links-receiver-0".into() }]
}

#[test]
fn between_two_attempts_the_condition_has_the_last_failure() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let mut observed = settled();
    known(&mut observed).events = vec![crate::linktree::event::EventType::ProfileUpdated];
    observed.status.conditions.push(condition(ConditionType::UpToDate, "False", Reason::Rejected));
    (observed.hold_until, observed.held) = (Some(at(NOW + 1)), Some(ConditionType::UpToDate));
    let held = status_after(&spec, &observed, None, at(NOW)).conditions;
    assert_eq!(find(&held, ConditionType::UpToDate), Some(("False", "Rejected")));
    assert_eq!(find(&held, ConditionType::Stalled), Some(("True", "Rejected")));
    let over = status_after(&spec, &observed, None, at(NOW + 1)).conditions;
    assert_eq!(find(&over, ConditionType::UpToDate), Some(("False", "DriftDetected")));
    // A problem that has resolved itself is no longer reported.
    known(&mut observed).events = spec.events.iter().cloned().collect();
    let resolved = status_after(&spec, &observed, None, at(NOW)).conditions;
    assert_eq!(find(&resolved, ConditionType::UpToDate), Some(("True", "Matched")));
}

#[test]
fn the_cooldown_doubles_with_each_attempt() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for (attempts, seconds) in [(1, 900), (2, 1800), (3, 3600), (30, 86_400)] {
        let mut observed = settled();
        disabled(&mut observed);
        super::attempts(&mut observed, NOW, 1);
        observed.status.subscription.as_mut().unwrap().recovery.as_mut().unwrap().attempts = attempts;
        let waiting = |after| decide(&spec, &observed, at(NOW + after)).steps.is_empty();
        assert!(waiting(seconds - 1) && !waiting(seconds), "{attempts} attempts");
    }
}

#[test]
fn a_deletion_without_linktree_reports_the_cause_and_its_deadline() {
    let terms = Deletion::of(&webhook(|_| {}).spec.subscription);
    let message = |connection: Connection| {
        let observed = Observed { connection, ..settled() };
        let plan = decide_deletion(terms, None, &observed, at(NOW - 600), at(NOW));
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        plan.findings[0].1.message.clone()
    };
    let left_behind = format!("left behind at {}", at(NOW + 3000));
    let cause = "there is no LinktreeConnection brand";
    let unusable = message(Connection::Unusable { reason: Reason::ConnectionMissing, message: cause.into() });
    assert!(unusable.contains(cause) && unusable.ends_with(&left_behind), "{unusable}");
    let unlisted = message(Connection::Unlisted);
    assert!(unlisted.contains("once the account has been listed") && unlisted.ends_with(&left_behind), "{unlisted}");
}

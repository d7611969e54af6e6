//! A webhook that is being deleted, and the steps about its subscription otherwise.

use super::*;
use crate::{api::webhook_status::Action, operator::webhook::spec::Deletion};

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
    for of in [ConditionType::Ready, ConditionType::Reconciling] {
        assert!(plan.findings.iter().any(|(found, finding)| *found == of && finding.reason == Reason::Terminating));
    }
    plan.steps
}

#[test]
fn the_subscription_goes_first_and_nothing_holds_up_what_was_never_registered() {
    type Case = (&'static str, fn(&mut Observed), Vec<Step>);
    let released = || vec![Step::RemoveFinalizer { orphan: None }];
    let cases: Vec<Case> = vec![
        ("registered", |_| {}, unsubscribe()),
        (
            "registered, and no longer on the list: asking is harmless",
            |o| account(o).subscriptions.clear(),
            unsubscribe(),
        ),
        ("never registered", nothing_known, released()),
        (
            "never registered, and no connection",
            |o| {
                nothing_known(o);
                o.connection = Connection::Unlisted;
            },
            released(),
        ),
        ("released already", |o| o.finalizer = false, vec![]),
        ("the account is not listed yet", |o| o.connection = Connection::Unlisted, vec![]),
        ("Linktree is to be left alone", |o| o.hold_until = Some(at(NOW + 1)), vec![]),
        (
            "Linktree offers no deletion",
            |o| lacks(o, Call::Delete),
            vec![Step::RemoveFinalizer { orphan: Some("wh_1".into()) }],
        ),
        ("the hold is over", |o| o.hold_until = Some(at(NOW)), unsubscribe()),
        ("begun, the answer not seen, and on the list", |o| begun(o, NOW - 60), unsubscribe()),
        (
            "begun, and not on a list taken since",
            |o| {
                begun(o, NOW - 60);
                account(o).subscriptions.clear();
            },
            released(),
        ),
        (
            "begun after the list was",
            |o| {
                begun(o, NOW - 5);
                account(o).subscriptions.clear();
            },
            vec![Step::RequestList],
        ),
        (
            "begun in this very second: a list now would not be newer",
            |o| {
                begun(o, NOW + 1);
                account(o).subscriptions.clear();
            },
            vec![],
        ),
        (
            "timed out after the list was begun",
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
fn observed_only_what_would_be_adopted_stays_nobodys() {
    let spec = Spec::parse(&webhook(|v| v["spec"]["subscription"] = json!({"managementPolicy": "Observe"}))).unwrap();
    let mut observed = settled();
    observed.status.subscription = None;
    for _ in 0..2 {
        let subscription = decide(&spec, &observed, at(NOW)).subscription.unwrap();
        let planned: Vec<_> = subscription.plan.iter().map(|planned| planned.action).collect();
        assert_eq!((planned, &subscription.id), (vec![Action::Adopt], &None));
        observed.status.subscription = Some(subscription);
    }
}

#[test]
fn after_the_deadline_it_is_let_go_and_the_orphan_is_named() {
    let mut observed = settled();
    observed.connection = Connection::Unlisted;
    let at_deadline = |seconds| DELETED + seconds;
    assert_eq!(deletion_steps(|_| {}, &observed, at_deadline(3599)), []);
    let orphan = |orphan: &str| vec![Step::RemoveFinalizer { orphan: Some(orphan.into()) }];
    assert_eq!(deletion_steps(|_| {}, &observed, at_deadline(3600)), orphan("wh_1"));
    let sooner = |v: &mut Value| v["spec"]["subscription"] = json!({"deletionDeadlineSeconds": 10});
    assert_eq!(deletion_steps(sooner, &observed, at_deadline(10)), orphan("wh_1"));
    let retain = |v: &mut Value| v["spec"]["subscription"] = json!({"deletionPolicy": "Retain"});
    assert_eq!(deletion_steps(retain, &observed, NOW), [Step::RemoveFinalizer { orphan: None }]);
}

#[test]
fn between_two_attempts_it_goes_on_saying_what_failed() {
    let object = webhook(|_| {});
    let message = |observed: &Observed| {
        let terms = Deletion::of(&object.spec.subscription);
        let plan = decide_deletion(terms, None, observed, at(DELETED), at(NOW));
        plan.findings.into_iter().map(|(_, finding)| finding.message).collect::<BTreeSet<_>>()
    };
    let mut observed = settled();
    let fresh = message(&observed);
    observed.hold_until = Some(at(NOW + 1));
    assert_eq!(message(&observed), fresh, "the hold is of a call before the deletion");
    let said = Finding::new(true, Reason::Terminating, "Linktree answered 503");
    observed.status.conditions =
        conditions::render(&[(ConditionType::Reconciling, said)], &observed.status.conditions, Some(1), at(NOW - 1));
    assert_eq!(message(&observed), BTreeSet::from(["Linktree answered 503".to_owned()]));
    observed.hold_until = Some(at(NOW));
    assert_eq!(message(&observed), fresh, "the next attempt is due");
}

/// A registration was begun, and its answer not recorded.
fn begun(observed: &mut Observed, second: i64) {
    observed.status.subscription = Some(registering(Some(Time(at(second)))));
}

#[test]
fn the_subscription_is_registered_once_whatever_became_of_an_earlier_attempt() {
    type Case = (&'static str, fn(&mut Observed), Vec<Step>);
    let register = || vec![Step::DryRunSecretWrite, Step::RecordRegistration { at: at(NOW + 1) }, Step::Register];
    let cases: Vec<Case> = vec![
        ("never tried", |_| {}, register()),
        ("the url does not lead here yet", |o| o.probe = ProbeResult::NotProbed, vec![]),
        ("the receiver is not ready", |o| pod(o).ready = false, vec![]),
        ("begun before the list was, and not on it", |o| begun(o, NOW - 60), register()),
        ("begun after the list was", |o| begun(o, NOW - 5), vec![Step::RequestList]),
        ("begun in this very second", |o| begun(o, NOW + 1), vec![]),
        ("begun by a clock that is ahead", |o| begun(o, NOW + 3600), vec![]),
        (
            "timed out after the list was begun",
            |o| {
                begun(o, NOW - 60);
                o.unresolved = Some(at(NOW - 5));
            },
            vec![Step::RequestList],
        ),
        (
            "failed, and to be left alone",
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
        nothing_known(&mut observed);
        change(&mut observed);
        assert_eq!(decide(&spec, &observed, at(NOW)).steps, steps, "{sentence}");
    }
}

#[test]
fn what_is_there_gets_the_steps_it_needs_and_no_more() {
    type Case = (&'static str, fn(&mut Observed), Vec<Step>);
    let rotate =
        || vec![Step::DryRunSecretWrite, Step::RotateSecret { id: id("wh_1"), keep_previous: false, request: None }];
    let cases: Vec<Case> = vec![
        ("nothing to do", |_| {}, vec![]),
        ("its secret is not kept", |o| o.keys = Keys::ProviderMissing(place("links-signing")), rotate()),
        ("the kept secret is of an earlier subscription", |o| o.secret_kept_for = Some(id("wh_0")), rotate()),
        ("a person put the secret there", |o| o.secret_kept_for = None, vec![]),
        ("adopted by url", |o| o.status.subscription = None, vec![Step::Adopt { id: id("wh_1") }]),
        ("disabled, and all is well", disabled, vec![Step::Reenable { id: id("wh_1") }]),
        (
            "disabled, and Linktree knows no PATCH",
            |o| {
                disabled(o);
                lacks(o, Call::Update);
                lacks(o, Call::Reenable);
            },
            vec![Step::Unsubscribe { id: id("wh_1") }],
        ),
        (
            "disabled, and to be left alone",
            |o| {
                disabled(o);
                o.hold_until = Some(at(NOW + 1));
            },
            vec![],
        ),
        ("no finalizer", |o| o.finalizer = false, vec![Step::AddFinalizer]),
        (
            "an object is not as it should be",
            |o| o.children_outdated = vec![Child::Service],
            vec![Step::Apply(Child::Service)],
        ),
        ("the receiver is behind", |o| receiver_of(o).route_digest = "r0".into(), point()),
        (
            "the kubelet was pointed at it already",
            |o| {
                receiver_of(o).route_digest = "r0".into();
                pod(o).route_digest = Some("r1".into());
            },
            vec![],
        ),
        ("the receiver cannot be asked: it may have an older admin token", |o| o.receiver.status = None, point()),
        (
            "the pod is only starting",
            |o| {
                o.receiver.status = None;
                pod(o).ready = false;
            },
            vec![],
        ),
    ];
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for (sentence, change, steps) in cases {
        let mut observed = settled();
        change(&mut observed);
        assert_eq!(decide(&spec, &observed, at(NOW)).steps, steps, "{sentence}");
    }
}

fn point() -> Vec<Step> {
    vec![Step::RefreshPodMount { pod: "links-receiver-0".into() }]
}

#[test]
fn between_a_failed_call_and_the_next_try_the_condition_goes_on_saying_why() {
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
    // What has come right by itself meanwhile is told.
    known(&mut observed).events = spec.events.iter().cloned().collect();
    let right = status_after(&spec, &observed, None, at(NOW)).conditions;
    assert_eq!(find(&right, ConditionType::UpToDate), Some(("True", "Matched")));
}

#[test]
fn the_wait_for_the_next_attempt_doubles() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for (attempts, seconds) in [(1, 900), (2, 1800), (3, 3600), (30, 86_400)] {
        let mut observed = settled();
        disabled(&mut observed);
        super::attempts(&mut observed, NOW, 1);
        observed.status.subscription.as_mut().unwrap().recovery.as_mut().unwrap().attempts = attempts;
        let waits = |after| decide(&spec, &observed, at(NOW + after)).steps.is_empty();
        assert!(waits(seconds - 1) && !waits(seconds), "{attempts} attempts");
    }
}

#[test]
fn a_deletion_that_cannot_ask_linktree_says_why_and_how_long_it_waits() {
    let terms = Deletion::of(&webhook(|_| {}).spec.subscription);
    let message = |connection: Connection| {
        let observed = Observed { connection, ..settled() };
        let plan = decide_deletion(terms, None, &observed, at(NOW - 600), at(NOW));
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        plan.findings[0].1.message.clone()
    };
    let left_behind = format!("left behind at {}", at(NOW + 3000));
    let gone = "there is no LinktreeConnection brand";
    let told = message(Connection::Unusable { reason: Reason::ConnectionMissing, message: gone.into() });
    assert!(told.contains(gone) && told.ends_with(&left_behind), "{told}");
    let told = message(Connection::Unlisted);
    assert!(told.contains("once the account was listed") && told.ends_with(&left_behind), "{told}");
}

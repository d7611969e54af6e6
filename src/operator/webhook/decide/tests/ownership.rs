//! Whose subscription it is: without a proof, a webhook has no step that changes one.

use super::{
    cases::{external, other_account},
    *,
};
use crate::{
    linktree::wire::Account,
    operator::webhook::{outcome::Begun, spec::Deletion, subscription_record::absent},
};

fn id() -> SubscriptionId {
    SubscriptionId("wh_1".into())
}

fn observed(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut observed = settled();
    change(&mut observed);
    observed
}

/// The steps at Linktree for a webhook that exists, and for one that is being deleted.
fn steps(edit: fn(&mut Value), observed: &Observed) -> (Vec<Step>, Vec<Step>) {
    let object = webhook(edit);
    let spec = Spec::parse(&object).unwrap();
    let terms = Deletion::of(&object.spec.subscription);
    let deletion = decide_deletion(terms, Some(spec.url.as_str()), observed, at(NOW - 60), at(NOW)).steps;
    (decide(&spec, observed, at(NOW)).steps, deletion)
}

/// A registration was recorded at this second, and its result is not known.
fn intent(observed: &mut Observed, second: i64) {
    observed.status.subscription = Some(registering(Some(Time(at(second)))));
}

/// Drifted, without its secret and disabled: a webhook that owned it would change all of it.
fn needs_changes(observed: &mut Observed) {
    disabled(observed);
    known(observed).events = vec![crate::linktree::event::EventType::ProfileUpdated];
    observed.keys = Keys::ProviderMissing(place("links-signing"));
    observed.rotate_request = Some("now".into());
}

/// A situation; whether the subscription is changed in it, and whether it is deleted with the webhook.
type Case = (&'static str, fn(&mut Value), fn(&mut Observed), bool, bool);

const CASES: [Case; 14] = [
    ("the status has its id", |_| {}, |_| {}, true, true),
    ("nothing but the URL", |_| {}, |o| o.status.subscription = None, false, false),
    ("an intent", |_| {}, |o| intent(o, NOW - 60), true, true),
    (
        "an intent, and the subscription is from about then",
        |_| {},
        |o| {
            intent(o, NOW - 60);
            known(o).created_at = Some(NOW - 61);
        },
        true,
        true,
    ),
    (
        "an intent, and the subscription is older",
        |_| {},
        |o| {
            intent(o, NOW - 60);
            known(o).created_at = Some(NOW - 600);
        },
        false,
        false,
    ),
    (
        "an intent that Linktree has rejected",
        |_| {},
        |o| o.status.subscription = Some(absent(Some(Time(at(NOW - 60))))),
        false,
        false,
    ),
    (
        "the id of another subscription that is gone",
        |_| {},
        |o| {
            o.status.subscription.as_mut().unwrap().id = Some("wh_0".into());
            account(o).absent = BTreeSet::from([SubscriptionId("wh_0".into())]);
        },
        false,
        false,
    ),
    (
        "it leads here",
        |_| {},
        |o| {
            o.status.subscription = None;
            o.leads_here = true;
        },
        true,
        false,
    ),
    (
        "it leads here, and adoption is not allowed",
        |v| v["spec"]["subscription"] = json!({"adoptionPolicy": "Never"}),
        |o| {
            o.status.subscription = None;
            o.leads_here = true;
        },
        false,
        false,
    ),
    (
        "the user has named it",
        |v| v["spec"]["subscription"] = json!({"adoptionPolicy": "ByID", "id": "wh_1"}),
        |o| o.status.subscription = None,
        true,
        false,
    ),
    (
        "another webhook owns the id that the user has named",
        |v| v["spec"]["subscription"] = json!({"adoptionPolicy": "ByID", "id": "wh_1"}),
        |o| {
            o.status.subscription = None;
            o.id_taken_by = Some(ObjectKey::new("marketing", "older"));
        },
        false,
        false,
    ),
    (
        "another webhook owns the id in the status",
        |_| {},
        |o| o.id_taken_by = Some(ObjectKey::new("marketing", "older")),
        false,
        false,
    ),
    ("it is in another account", |_| {}, other_account, false, false),
    (
        "another webhook has the URL, and an intent is open",
        |_| {},
        |o| {
            intent(o, NOW - 60);
            o.url_taken_by = Some(ObjectKey::new("marketing", "other"));
        },
        false,
        false,
    ),
];

#[test]
fn nothing_is_changed_or_deleted_without_a_proof() {
    for (sentence, edit, change, changed, deleted) in CASES {
        let observed = observed(|o| {
            needs_changes(o);
            change(o);
        });
        let (steps, deletion) = steps(edit, &observed);
        assert_eq!(steps.iter().any(Step::calls_linktree), changed, "{sentence}: {steps:?}");
        assert_eq!(deletion.contains(&Step::Unsubscribe { id: id() }), deleted, "{sentence}: {deletion:?}");
        assert!(matches!(deletion.last(), Some(Step::RemoveFinalizer { .. })), "{sentence}: {deletion:?}");
    }
}

#[test]
fn the_condition_names_the_subscription_and_how_to_adopt_it() {
    let message = |edit: fn(&mut Value)| {
        let spec = Spec::parse(&webhook(edit)).unwrap();
        let observed = observed(|o| {
            o.status.subscription = None;
            known(o).url = spec.url.to_string();
            o.probe = ProbeResult::Foreign { status: 401, problem: String::new(), certificate_expires: None };
        });
        let status = status_after(&spec, &observed, None, at(NOW));
        assert_eq!(find(&status.conditions, ConditionType::Stalled).unwrap().0, "True");
        conditions::find(&status.conditions, ConditionType::Registered).unwrap().message.clone()
    };
    for message in [message(|_| {}), message(external)] {
        assert!(message.contains("ByID and subscription.id to wh_1"), "{message}");
    }
    assert!(message(|_| {}).contains("once the URL leads to this webhook's own receiver"));
}

/// The account after a decision: its id, the digest of its token, and whether it has changed.
fn account_after(change: impl FnOnce(&mut Observed)) -> (Option<String>, String, bool) {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let status = status_after(&spec, &observed(change), None, at(NOW));
    let remembered = status.account.unwrap_or(SubscriptionAccount { id: None, token_digest: String::new() });
    let registered = conditions::find(&status.conditions, ConditionType::Registered).unwrap();
    (remembered.id, remembered.token_digest, registered.reason == "AccountChanged")
}

#[test]
fn the_account_is_known_by_its_id_and_without_ids_two_lists_decide() {
    let remembers = |o: &mut Observed, id: Option<&str>, token: &str| {
        o.status.account = Some(SubscriptionAccount { id: id.map(str::to_owned), token_digest: token.into() });
    };
    let shows = |o: &mut Observed, id: &str| {
        account(o).account = Some(Account { id: id.into(), username: None, plan: None });
    };
    let gone = |o: &mut Observed| {
        account(o).subscriptions.clear();
        account(o).absent = BTreeSet::from([id()]);
    };
    let is = |id: Option<&str>, token: &str, changed| (id.map(str::to_owned), token.to_owned(), changed);
    assert_eq!(account_after(|_| {}), is(None, "t1", false), "it is remembered");
    assert_eq!(account_after(|o| shows(o, "acc_1")), is(Some("acc_1"), "t1", false));
    let same = account_after(|o| {
        remembers(o, Some("acc_1"), "t0");
        shows(o, "acc_1");
    });
    assert_eq!(same, is(Some("acc_1"), "t1", false), "a new token of the account");
    assert_eq!(account_after(|o| remembers(o, None, "t0")), is(None, "t1", false), "no id, but its subscription");
    assert_eq!(account_after(other_account), is(Some("acc_1"), "t0", true));
    let no_longer_shown = account_after(|o| remembers(o, Some("acc_1"), "t0"));
    assert_eq!(no_longer_shown, is(Some("acc_1"), "t1", false), "a changed token alone means nothing");
    let moved = account_after(|o| {
        remembers(o, None, "t0");
        gone(o);
    });
    assert_eq!(moved, is(None, "t0", true), "the token was changed, and two lists lack the subscription");
    let deleted = account_after(|o| {
        remembers(o, None, "t1");
        gone(o);
    });
    assert!(!deleted.2, "deleted in the dashboard");
    let deleted = account_after(|o| {
        remembers(o, Some("acc_1"), "t0");
        shows(o, "acc_1");
        gone(o);
    });
    assert!(!deleted.2, "deleted in the dashboard, with another token of the account");
    let one_list = account_after(|o| {
        remembers(o, None, "t0");
        account(o).subscriptions.clear();
    });
    assert_eq!(one_list, is(None, "t0", false), "not two lists yet");
}

#[test]
fn after_a_change_of_account_the_orphan_is_named_with_its_account() {
    let (steps, deletion) = steps(|_| {}, &observed(other_account));
    assert_eq!(steps, []);
    assert_eq!(deletion, [Step::RemoveFinalizer { orphan: Some("wh_1 of account acc_1".into()) }]);
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let status = status_after(&spec, &observed(other_account), None, at(NOW));
    let registered = conditions::find(&status.conditions, ConditionType::Registered).unwrap();
    for part in ["wh_1", "account acc_1", "account acc_2"] {
        assert!(registered.message.contains(part), "{}", registered.message);
    }
    assert_eq!(status.subscription.unwrap().id, Some("wh_1".into()), "it is remembered until it is dealt with");
}

#[test]
fn a_rejected_registration_is_no_intent_any_more_and_one_with_a_lost_answer_is() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let unregistered = observed(unregistered);
    for (is_void, state) in [(true, SubscriptionState::Absent), (false, SubscriptionState::Registering)] {
        let begun = Some(Begun { at: at(NOW), account: None, is_void });
        let outcome = Outcome { begun, ..Outcome::default() };
        let route = route::tests::route();
        let report = Report {
            generation: spec.generation,
            url: spec.url.as_str(),
            route: Some(&route),
            observed: &unregistered,
            plan: decide(&spec, &unregistered, at(NOW)),
            outcome: &outcome,
            hold_until: None,
            now: at(NOW),
        };
        let subscription = report.status().subscription.unwrap();
        assert_eq!((subscription.state, subscription.id), (state, None));
        assert_eq!(subscription.registration_time, Some(Time(at(NOW))), "the request budget counts it");
    }
}

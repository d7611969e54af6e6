//! External receivers: only the subscription is managed, and only observable conditions are reported.

use super::{
    cases::{answered, answers_elsewhere, external, secret_elsewhere, theirs},
    *,
};

/// The condition types besides `Ready`.
const TYPES: [&str; 7] = [
    "ConnectionReady",
    "EndpointReachable",
    "SigningKeysReady",
    "Registered",
    "UpToDate",
    "SubscriptionEnabled",
    "DeliveryAtRisk",
];

fn spec() -> Spec {
    Spec::parse(&webhook(external)).unwrap()
}

fn observed(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut observed = settled();
    change(&mut observed);
    observed
}

fn steps(change: impl FnOnce(&mut Observed)) -> Vec<Step> {
    decide(&spec(), &observed(change), at(NOW)).steps
}

fn id() -> SubscriptionId {
    SubscriptionId("wh_1".into())
}

#[test]
fn an_external_receiver_has_only_observable_conditions() {
    let status = status_after(&spec(), &observed(theirs), None, at(NOW));
    let types: Vec<_> = status.conditions.iter().map(|it| it.type_.as_str()).collect();
    assert_eq!(types, [&["Ready"][..], &TYPES].concat());
    assert_eq!((status.signing, status.receiver, status.sinks), (None, None, vec![]));
    assert!(decide(&spec(), &observed(secret_elsewhere), at(NOW)).rests);
}

#[test]
fn the_response_of_the_receiver_decides_about_registration_and_reenabling() {
    let registers = |status| {
        steps(|o| {
            unregistered(o);
            answered(o, status);
        })
        .contains(&Step::Register { creation: Creation::First })
    };
    let enables = |status| {
        steps(|o| {
            answered(o, status);
            disabled(o);
        })
        .contains(&Step::Reenable { id: id() })
    };
    for (status, accepted) in [(401, true), (200, true), (404, false), (503, false)] {
        assert_eq!((registers(status), enables(status)), (accepted, accepted), "{status}");
    }
}

#[test]
fn the_secret_is_rotated_only_on_request() {
    assert_eq!(steps(secret_elsewhere), [], "the receiver may use it");
    let requested = steps(|o| {
        secret_elsewhere(o);
        o.rotate_request = Some("now".into());
    });
    let rotates = Step::RotateSecret { id: id(), keep_previous: false, request: Some("now".into()) };
    assert_eq!(requested, [Step::DryRunSecretWrite, rotates]);
}

/// The subscription's URL is changed; at no time is there no receiver for its deliveries.
#[test]
fn the_url_changes_once_the_new_receiver_responds_and_the_old_one_is_deleted_afterwards() {
    let stale_object = || StaleObject { part: Part::StatefulSet, uid: "u-9".into() };
    let moved = |change: fn(&mut Observed)| {
        steps(|o| {
            o.stale_objects = vec![stale_object()];
            change(o);
        })
    };
    let url = |url: &Spec| Some(url.url.to_string());
    let update = |url| {
        let change = wire::UpdateSubscription { url, events: None, status: None };
        Step::Update { id: id(), change }
    };
    let silent = |o: &mut Observed| {
        answers_elsewhere(o);
        o.probe = ProbeResult::ConnectionFailed { problem: "refused".into() };
    };
    let unlisted = |o: &mut Observed| {
        theirs(o);
        o.connection = Connection::Unlisted;
    };
    assert_eq!(moved(silent), []);
    assert_eq!(moved(answers_elsewhere), [update(url(&spec()))]);
    assert_eq!(moved(unlisted), [], "Linktree may still send to the old one");
    assert_eq!(moved(theirs), [Step::Remove(stale_object())]);
    assert_eq!(moved(unregistered)[0], Step::Remove(stale_object()), "there is no subscription");

    let back = Spec::parse(&webhook(|_| {})).unwrap();
    let starting = observed(|o| {
        theirs(o);
        (o.receiver, o.probe) = (Receiver::default(), ProbeResult::NotProbed);
    });
    assert_eq!(decide(&back, &starting, at(NOW)).steps, []);
    let started = observed(|o| known(o).url = "https://hooks.example.com/in".into());
    assert_eq!(decide(&back, &started, at(NOW)).steps, [update(url(&back))]);
}

#[test]
fn the_record_of_attempts_expires_after_a_day() {
    for (hours, disabled_again, remembered) in [(23, false, true), (24, false, false), (24, true, true)] {
        let observed = observed(|o| {
            theirs(o);
            if disabled_again {
                disabled(o);
            }
            attempts(o, NOW - hours * 3600, 3);
        });
        let record = decide(&spec(), &observed, at(NOW)).subscription.unwrap().recovery;
        assert_eq!(record.is_some(), remembered, "{hours} {disabled_again}");
    }
    let observed = observed(|o| {
        theirs(o);
        attempts(o, NOW - 60, 3);
    });
    assert!(!decide(&spec(), &observed, at(NOW)).rests, "the record expires with time alone");
}

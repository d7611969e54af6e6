//! A person asks for a look at Linktree now.

use super::*;
use crate::operator::webhook::observed::SyncRequest;

/// What was listed when, in seconds after the request was noticed, and what follows.
#[test]
fn a_request_is_handled_by_a_list_begun_since_and_by_nothing_else() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let asked = |change: fn(&mut Observed)| {
        let mut observed = settled();
        observed.sync_request = Some(SyncRequest { value: "now".into(), noticed_at: at(NOW) });
        change(&mut observed);
        let plan = decide(&spec, &observed, at(NOW));
        let lists = plan.steps.iter().filter(|step| **step == Step::RequestList).count();
        let status = status_after(&spec, &observed, None, at(NOW));
        assert_eq!(status.last_handled_sync_request, plan.handled_sync_request);
        (plan.handled_sync_request, lists)
    };
    let handled = Some("now".to_owned());
    assert_eq!(asked(|o| account(o).listed_at = at(NOW - 1)), (None, 1), "listed before");
    assert_eq!(asked(|o| account(o).listed_at = at(NOW)), (handled.clone(), 0), "listed since");
    assert_eq!(asked(|o| o.connection = Connection::Unlisted), (None, 1), "never listed");
    let unusable = |o: &mut Observed| {
        o.connection = Connection::Unusable { reason: Reason::TokenMissing, message: "no".into() };
    };
    assert_eq!(asked(unusable), (handled, 0), "nobody to ask");
    let lost = |o: &mut Observed| {
        nothing_known(o);
        o.unresolved = Some(at(NOW));
        account(o).listed_at = at(NOW - 1);
    };
    assert_eq!(asked(lost), (None, 1), "a list that is asked for anyway is asked for once");
}

#[test]
fn a_request_that_was_handled_stays_told() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let mut observed = settled();
    observed.status.last_handled_sync_request = Some("before".into());
    let status = status_after(&spec, &observed, None, at(NOW));
    assert_eq!(status.last_handled_sync_request.as_deref(), Some("before"));
}

#[test]
fn a_subscription_is_made_anew_only_once_it_was_looked_for_in_vain() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let mut observed = settled();
    account(&mut observed).subscriptions.clear();
    assert_eq!(decide(&spec, &observed, at(NOW)).steps, [Step::RequestList], "another operator may have made it");
    account(&mut observed).absent.insert(SubscriptionId("wh_1".into()));
    assert!(decide(&spec, &observed, at(NOW)).steps.contains(&Step::Register));
}

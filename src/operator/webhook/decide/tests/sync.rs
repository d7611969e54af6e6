//! Sync requests.

use super::*;
use crate::operator::webhook::observed::SyncRequest;

/// A list that began before the request does not complete it.
#[test]
fn a_request_is_completed_only_by_a_list_that_began_after_it() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let decided = |change: fn(&mut Observed)| {
        let mut observed = settled();
        observed.sync_request = Some(SyncRequest { value: "now".into(), noticed_at: at(NOW) });
        change(&mut observed);
        let plan = decide(&spec, &observed, at(NOW));
        let lists = plan.steps.iter().filter(|step| **step == Step::RequestList).count();
        let status = status_after(&spec, &observed, None, at(NOW));
        assert_eq!(status.last_handled_sync_request, plan.handled_sync_request);
        (plan.handled_sync_request, lists)
    };
    let completed = Some("now".to_owned());
    assert_eq!(decided(|o| account(o).listed_at = at(NOW - 1)), (None, 1), "listed before");
    assert_eq!(decided(|o| account(o).listed_at = at(NOW)), (completed.clone(), 0), "listed since");
    assert_eq!(decided(|o| o.connection = Connection::Unlisted), (None, 1), "never listed");
    let unusable = |o: &mut Observed| {
        o.connection = Connection::Unusable { reason: Reason::TokenMissing, message: "no".into() };
    };
    assert_eq!(decided(unusable), (completed, 0), "unusable");
    let lost = |o: &mut Observed| {
        unregistered(o);
        o.unresolved = Some(at(NOW));
        account(o).listed_at = at(NOW - 1);
    };
    assert_eq!(decided(lost), (None, 1), "a list that is needed anyway is requested once");
}

#[test]
fn a_completed_request_stays_in_the_status() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let mut observed = settled();
    observed.status.last_handled_sync_request = Some("before".into());
    let status = status_after(&spec, &observed, None, at(NOW));
    assert_eq!(status.last_handled_sync_request.as_deref(), Some("before"));
}

#[test]
fn a_subscription_is_recreated_only_after_a_list_without_it() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let mut observed = settled();
    account(&mut observed).subscriptions.clear();
    assert_eq!(decide(&spec, &observed, at(NOW)).steps, [Step::RequestList], "another operator may have created it");
    account(&mut observed).absent.insert(SubscriptionId("wh_1".into()));
    assert!(decide(&spec, &observed, at(NOW)).steps.contains(&Step::Register { creation: Creation::First }));
}

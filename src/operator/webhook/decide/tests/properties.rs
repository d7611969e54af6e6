//! Properties of decisions that hold for any mixture of situations.

use super::{
    cases::{CASES, situation},
    *,
};
use crate::api::webhook::Pause;

/// Several situations at once.
fn mixed(chosen: &[prop::sample::Index]) -> (Spec, Observed) {
    let chosen: Vec<_> = chosen.iter().map(|index| &CASES[index.index(CASES.len())]).collect();
    let object = |v: &mut Value| chosen.iter().for_each(|(_, edit, ..)| edit(v));
    let spec = Spec::parse(&webhook(object));
    let mut observed = settled();
    chosen.iter().for_each(|(_, _, change, ..)| change(&mut observed));
    // Edits of one object may contradict each other; any spec serves then.
    (spec.unwrap_or_else(|_| situation(&CASES[0]).0), observed)
}

proptest! {
    #[test]
    fn a_decision_is_consistent(
        chosen in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        seconds in any::<[i64; 4]>(),
        held in any::<bool>(),
        now in -377_705_023_201_i64..253_402_207_200,
    ) {
        let (spec, mut observed) = mixed(&chosen);
        let now = at(now);
        if let Some(subscription) = account(&mut observed).subscriptions.first_mut() {
            [subscription.failing_since, subscription.disabled_at, subscription.created_at] =
                [Some(seconds[0]), Some(seconds[1]), Some(seconds[2])];
        }
        receiver_of(&mut observed).last_verified_time = Some(seconds[3]);
        if held {
            (observed.hold_until, observed.held) = (Some(Timestamp::MAX), Some(ConditionType::Registered));
        }

        let plan = decide(&spec, &observed, now);
        prop_assert_eq!(&plan, &decide(&spec, &observed, now), "deterministic");
        let types: BTreeSet<_> = plan.findings.iter().map(|(condition_type, _)| *condition_type).collect();
        prop_assert_eq!(types.len(), plan.findings.len(), "one finding per type");
        prop_assert!(plan.requeue >= UNSETTLED && plan.requeue <= SETTLED);
        if held && now < Timestamp::MAX {
            prop_assert!(!plan.steps.iter().any(Step::calls_linktree), "{:?}", plan.steps);
        }
        if spec.pause == Pause::Reconciliation {
            prop_assert!(plan.steps.iter().all(|step| *step == Step::RequestList), "{:?}", plan.steps);
        }
        if plan.steps.iter().any(|step| matches!(step, Step::Register { .. })) {
            let exists = account(&mut observed).subscriptions.iter().any(|known| known.url == spec.url.as_str());
            prop_assert!(!exists, "a second subscription");
            prop_assert!(matches!(plan.steps[plan.steps.len() - 2], Step::RecordRegistration { .. }), "{:?}", plan.steps);
        }

        let status = status_after(&spec, &observed, None, now);
        let condition = |condition_type| find(&status.conditions, condition_type);
        prop_assert!(condition(ConditionType::Ready).is_some());
        let (reconciling, stalled) = (condition(ConditionType::Reconciling), condition(ConditionType::Stalled));
        prop_assert!(reconciling.is_none() || stalled.is_none(), "{:?}", status.conditions);
        prop_assert!([reconciling, stalled].into_iter().flatten().all(|(status, _)| status == "True"));
        prop_assert!(status.conditions.iter().all(|it| !it.message.is_empty() && it.message.len() <= 4096));
    }

    #[test]
    fn a_deletion_ends_after_the_deadline(chosen in prop::collection::vec(any::<prop::sample::Index>(), 0..8), late in 3600_i64..1_000_000) {
        let (spec, observed) = mixed(&chosen);
        let terms = crate::operator::webhook::spec::Deletion::of(&webhook(|_| {}).spec.subscription);
        let plan = decide_deletion(terms, Some(spec.url.as_str()), &observed, at(NOW), at(NOW + late));
        let released = plan.steps.iter().any(|step| matches!(step, Step::RemoveFinalizer { .. }));
        prop_assert!(released, "{:?}", plan.steps);
    }
}

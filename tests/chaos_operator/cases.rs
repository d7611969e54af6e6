//! The rows that put trouble into the scenarios: which cases are tried, and how each is judged.

use std::fmt::Debug;

use crate::{
    cluster::Cluster,
    gate::Call,
    oracle::{self, End},
    row::{Row, full},
    sample::sample,
    scenario::{self, Scenario},
    time, workers,
};

/// What goes wrong in a case.
pub trait Trouble: Debug + Sync {
    /// A cluster in which it does.
    fn strike(&self) -> Cluster;

    /// Writes that it may cost beyond the undisturbed ones, to each peer.
    fn costs(&self, undisturbed: &End) -> usize;

    /// Whether it is no wonder that something is violated.
    fn excuses(&self, _violation: &str) -> bool {
        false
    }
}

/// A scenario without trouble.
pub struct Undisturbed {
    pub end: End,
    pub calls: Vec<Call>,
}

impl Undisturbed {
    pub fn effects(&self) -> usize {
        self.calls.iter().filter(|call| call.is_effect).count()
    }
}

pub fn undisturbed(scenario: &Scenario) -> Undisturbed {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        let end = oracle::run(&cluster, scenario, None).await;
        Undisturbed { end, calls: cluster.calls.made() }
    })
}

/// Tries `most` of the cases there are, by the row's seed, and those `kept` by name: they once found something.
/// `CHAOS_CASE=NAME` tries those alone whose name begins so.
pub fn try_all<T: Trouble>(row: &mut Row, most: usize, kept: &[&str], troubles: impl Fn(&Undisturbed) -> Vec<T>) {
    let asked = std::env::var("CHAOS_CASE").ok();
    let named: Vec<&str> = asked.as_deref().map_or(kept.to_vec(), |name| vec![name]);
    let of_named = |scenario: &Scenario| named.iter().any(|name| name.starts_with(scenario.name));
    let chosen = if asked.is_some() { Vec::new() } else { scenario::chosen(row) };
    let is_chosen = |scenario: &Scenario| chosen.iter().any(|it| it.name == scenario.name);
    let scenarios: Vec<&Scenario> = scenario::ALL.iter().filter(|it| is_chosen(it) || of_named(it)).collect();

    let undisturbed = workers::map(&scenarios, |scenario| undisturbed(scenario));
    let mut cases = Vec::new();
    for (scenario, undisturbed) in scenarios.iter().zip(&undisturbed) {
        let all = troubles(undisturbed).into_iter();
        cases.extend(
            all.map(|trouble| (*scenario, &undisturbed.end, format!("{} {trouble:?}", scenario.name), trouble)),
        );
    }
    let (mut tried, others): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|(_, _, name, _)| named.iter().any(|it| name.starts_with(it)));
    tried.extend(sample(row, others.into_iter().filter(|(scenario, ..)| is_chosen(scenario)).collect(), most));

    row.tried(tried.len());
    let run = |(scenario, undisturbed, _, trouble): &(&Scenario, &End, String, T)| {
        time::simulated(async {
            let cluster = trouble.strike();
            let end = oracle::run(&cluster, scenario, Some(undisturbed)).await;
            (oracle::compare(&end, undisturbed, trouble.costs(undisturbed)), cluster.calls.made())
        })
    };
    let ends = workers::map(&tried, |case| run(case).0);
    for ((_, _, name, trouble), violations) in tried.iter().zip(ends) {
        let violations = violations.into_iter().filter(|what| !trouble.excuses(what));
        violations.for_each(|what| row.violated(format!("{name}: {what}")));
    }
    // A failure can be looked into only if it comes again.
    let again = &tried[..tried.len().min(if full() { 40 } else { 4 })];
    for ((_, _, name, _), [first, second]) in again.iter().zip(workers::map(again, |case| [run(case).1, run(case).1])) {
        if let Some(at) = (0..first.len().max(second.len())).find(|at| first.get(*at) != second.get(*at)) {
            let [first, second] = [first, second].map(|calls| calls.get(at).map(|call| call.what.clone()));
            row.violated(format!("{name}: it is not the same each time: call {at} is {first:?}, and then {second:?}"));
        }
    }
}

//! Rows that disturb the scenarios: selection and evaluation of cases.

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

/// A disturbance of a scenario.
pub trait Disturbance: Debug + Sync {
    /// Starts a cluster with this disturbance.
    fn start_cluster(&self) -> Cluster;

    /// The number of additional writes that it may cause, per peer.
    fn extra_writes(&self, undisturbed: &End) -> usize;

    /// Whether the disturbance justifies a violation.
    fn tolerates(&self, _violation: &str) -> bool {
        false
    }
}

/// A scenario without disturbance.
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

/// Runs at most `most` cases, drawn by the row's seed, and those `kept` by name, which once failed. `CHAOS_CASE=NAME`
/// runs only cases whose name begins with NAME.
pub fn try_all<T: Disturbance>(
    row: &mut Row,
    most: usize,
    kept: &[&str],
    disturbances: impl Fn(&Undisturbed) -> Vec<T>,
) {
    let requested = std::env::var("CHAOS_CASE").ok();
    let named: Vec<&str> = requested.as_deref().map_or(kept.to_vec(), |name| vec![name]);
    let of_named = |scenario: &Scenario| named.iter().any(|name| name.starts_with(scenario.name));
    let chosen = if requested.is_some() { Vec::new() } else { scenario::chosen(row) };
    let is_chosen = |scenario: &Scenario| chosen.iter().any(|it| it.name == scenario.name);
    let scenarios: Vec<&Scenario> = scenario::ALL.iter().filter(|it| is_chosen(it) || of_named(it)).collect();

    let undisturbed = workers::map(&scenarios, |scenario| undisturbed(scenario));
    let mut cases = Vec::new();
    for (scenario, undisturbed) in scenarios.iter().zip(&undisturbed) {
        let all = disturbances(undisturbed).into_iter();
        cases.extend(all.map(|disturbance| {
            (*scenario, &undisturbed.end, format!("{} {disturbance:?}", scenario.name), disturbance)
        }));
    }
    let (mut tried, others): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|(_, _, name, _)| named.iter().any(|it| name.starts_with(it)));
    tried.extend(sample(row, others.into_iter().filter(|(scenario, ..)| is_chosen(scenario)).collect(), most));

    row.tried(tried.len());
    let run = |(scenario, undisturbed, _, disturbance): &(&Scenario, &End, String, T)| {
        time::simulated(async {
            let cluster = disturbance.start_cluster();
            let end = oracle::run(&cluster, scenario, Some(undisturbed)).await;
            (oracle::compare(&end, undisturbed, disturbance.extra_writes(undisturbed)), cluster.calls.made())
        })
    };
    let ends = workers::map(&tried, |case| run(case).0);
    for ((_, _, name, disturbance), violations) in tried.iter().zip(ends) {
        let violations = violations.into_iter().filter(|what| !disturbance.tolerates(what));
        violations.for_each(|what| row.violated(format!("{name}: {what}")));
    }
    // A failure can only be investigated if it is reproducible.
    let again = &tried[..tried.len().min(if full() { 40 } else { 4 })];
    for ((_, _, name, _), [first, second]) in again.iter().zip(workers::map(again, |case| [run(case).1, run(case).1])) {
        if let Some(at) = (0..first.len().max(second.len())).find(|at| first.get(*at) != second.get(*at)) {
            let [first, second] = [first, second].map(|calls| calls.get(at).map(|call| call.what.clone()));
            row.violated(format!("{name}: not deterministic: call {at} is first {first:?}, then {second:?}"));
        }
    }
}

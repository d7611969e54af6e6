//! Crash points: the operator is killed before one of its writes, or after it took effect and before the response.

use crate::{
    cases::{self, Disturbance},
    cluster::Cluster,
    gate::Fate,
    oracle::End,
    row::{Row, count},
    scenario::{ALL, Scenario},
    workers,
};

/// Additional writes that a crash may cause, per peer: repeated work, and repeated reports of lost state, such as the
/// remaining budget. After a restart, each object is applied once.
const COSTS: usize = 24;

#[derive(Clone, Copy, Debug)]
struct Death {
    /// The index of the write in the case.
    at: usize,
    after: bool,
}

impl Disturbance for Vec<Death> {
    fn start_cluster(&self) -> Cluster {
        let cluster = Cluster::start(1, 1);
        let mut left = self.clone();
        let mut effects = 0;
        cluster.calls.judge(Box::new(move |call| {
            if !call.is_effect {
                return Fate::Passes;
            }
            let at = effects;
            effects += 1;
            match left.first() {
                Some(death) if death.at == at => {
                    let after = left.remove(0).after;
                    if after { Fate::DiesAfter } else { Fate::DiesBefore }
                }
                Some(_) | None => Fate::Passes,
            }
        }));
        cluster
    }

    fn extra_writes(&self, _: &End) -> usize {
        COSTS * self.len()
    }
}

#[test]
pub fn undisturbed_scenarios() {
    let mut row = Row::new("undisturbed scenarios", "undisturbed_scenarios");
    let all: Vec<&Scenario> = ALL.iter().collect();
    for (scenario, undisturbed) in ALL.iter().zip(workers::map(&all, |scenario| cases::undisturbed(scenario))) {
        row.tried(1);
        assert!(undisturbed.effects() > 0, "{} has no effect", scenario.name);
        undisturbed.end.violations.iter().for_each(|what| row.violated(format!("{}: {what}", scenario.name)));
    }
    row.finish();
}

#[test]
fn single_crashes() {
    let mut row = Row::new("crash points, single", "single_crashes");
    cases::try_all(&mut row, count(usize::MAX, 24), &[], |undisturbed| {
        (0..undisturbed.effects()).flat_map(|at| [false, true].map(|after| vec![Death { at, after }])).collect()
    });
    row.finish();
}

#[test]
fn pairs_of_crashes() {
    let mut row = Row::new("crash points, pairs", "pairs_of_crashes");
    cases::try_all(&mut row, count(5200, 16), &[], |undisturbed| {
        let mut pairs = Vec::new();
        for first in 0..undisturbed.effects() {
            for second in first + 1..undisturbed.effects() + 1 {
                for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
                    pairs.push(vec![Death { at: first, after: a }, Death { at: second, after: b }]);
                }
            }
        }
        pairs
    });
    row.finish();
}

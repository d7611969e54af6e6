//! Crash points: the operator dies before one of its effects, or after it took effect and before the answer was seen.

use crate::{
    gate::Fate,
    oracle,
    row::{Row, count},
    sample::sample,
    scenario::{self, ALL, Scenario},
    time, workers,
    world::World,
};

/// Writes that a crash may cost beyond the undisturbed ones, to each peer: what was under way is done again, and what
/// is not known any more, such as what is left of the budget, is said again.
const COSTS: usize = 12;

#[derive(Clone, Copy, Debug)]
struct Death {
    /// Which effect of the case, from 0.
    at: usize,
    after: bool,
}

pub fn undisturbed(scenario: &&Scenario) -> (oracle::End, usize) {
    time::simulated(async {
        let world = World::start(1, 1);
        let end = oracle::run(&world, scenario, None).await;
        (end, world.calls.effects())
    })
}

fn run(scenario: &Scenario, undisturbed: &oracle::End, deaths: &[Death]) -> oracle::End {
    time::simulated(async {
        let world = World::start(1, 1);
        let mut left = deaths.to_vec();
        let mut effects = 0;
        world.calls.judge(Box::new(move |call| {
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
        oracle::run(&world, scenario, Some(undisturbed)).await
    })
}

#[test]
pub fn undisturbed_scenarios() {
    let mut row = Row::new("undisturbed scenarios", "undisturbed_scenarios");
    let all: Vec<&Scenario> = ALL.iter().collect();
    for (scenario, (end, effects)) in ALL.iter().zip(workers::map(&all, undisturbed)) {
        row.tried(1);
        assert!(effects > 0, "{} has no effect", scenario.name);
        end.violations.iter().for_each(|what| row.violated(format!("{}: {what}", scenario.name)));
    }
    row.finish();
}

#[test]
fn single_crashes() {
    let mut row = Row::new("crash points, single", "single_crashes");
    try_all(&mut row, usize::MAX, 24, |effects| {
        (0..effects).flat_map(|at| [false, true].map(|after| vec![Death { at, after }])).collect()
    });
    row.finish();
}

#[test]
fn pairs_of_crashes() {
    let mut row = Row::new("crash points, pairs", "pairs_of_crashes");
    try_all(&mut row, 5200, 16, |effects| {
        let mut pairs = Vec::new();
        for first in 0..effects {
            for second in first + 1..effects + 1 {
                for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
                    pairs.push(vec![Death { at: first, after: a }, Death { at: second, after: b }]);
                }
            }
        }
        pairs
    });
    row.finish();
}

fn try_all(row: &mut Row, goal: usize, part: usize, deaths: impl Fn(usize) -> Vec<Vec<Death>>) {
    let scenarios = scenario::chosen(row);
    let ends = workers::map(&scenarios, undisturbed);
    let mut cases = Vec::new();
    for (scenario, (end, effects)) in scenarios.iter().zip(&ends) {
        cases.extend(deaths(*effects).into_iter().map(|deaths| (scenario, end, deaths)));
    }
    let cases = sample(row, cases, count(goal, part));
    row.tried(cases.len());
    for violations in workers::map(&cases, |(scenario, undisturbed, deaths)| {
        let end = run(scenario, undisturbed, deaths);
        let violations = oracle::compare(&end, undisturbed, COSTS * deaths.len());
        violations.into_iter().map(|what| format!("{} {deaths:?}: {what}", scenario.name)).collect::<Vec<_>>()
    }) {
        violations.into_iter().for_each(|what| row.violated(what));
    }
}

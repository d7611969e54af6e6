//! Stale and missed views: the operator's picture of the cluster lags, has gaps, comes in another order; its clock is
//! wrong; two operators lead at once.

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    crash::undisturbed,
    gate::Fate,
    oracle::{self, End},
    row::{Row, count},
    sample::sample,
    scenario::{self, Scenario},
    time, workers,
    world::World,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Events come up to this many seconds late.
    Late(u64),
    /// Every other watch begins with 410 Gone, and lists come in any order.
    Gone,
    /// The operator is started again twice, and each time lists what was true a while ago.
    Past,
    /// The wall clock jumps by so many seconds, and back.
    Clock(i64),
    TwoLeaders,
    /// Two leaders with late views.
    TwoLate,
}

const TROUBLES: [Trouble; 9] = [
    Trouble::Late(2),
    Trouble::Late(40),
    Trouble::Gone,
    Trouble::Past,
    Trouble::Clock(3600),
    Trouble::Clock(-3600),
    Trouble::Clock(90),
    Trouble::TwoLeaders,
    Trouble::TwoLate,
];

impl Trouble {
    fn leaders(self) -> usize {
        match self {
            Trouble::TwoLeaders | Trouble::TwoLate => 2,
            Trouble::Late(_) | Trouble::Gone | Trouble::Past | Trouble::Clock(_) => 1,
        }
    }

    /// What it may cost in writes: a decision on an old picture is made again; of two leaders each writes everything, and once
    /// more what the other wrote, since each has a memory of its own.
    fn costs(self, undisturbed: &End) -> usize {
        let all: usize = undisturbed.writes.values().flat_map(BTreeMap::values).sum();
        12 + 2 * (self.leaders() - 1) * (all + 12)
    }
}

fn run(scenario: &Scenario, undisturbed: &End, trouble: Trouble, seed: u64) -> End {
    time::simulated(async {
        let world = World::start(1, trouble.leaders());
        let mut random = StdRng::seed_from_u64(seed);
        if trouble.leaders() == 2 {
            // The lease is fenced by time, so that an overlap ends.
            world.calls.take(Duration::from_millis(20));
            world.end_one_after(random.random_range(5..60));
        }
        world.kubernetes.view().random = StdRng::seed_from_u64(seed);
        match trouble {
            Trouble::Late(seconds) => world.kubernetes.view().late = Duration::from_secs(seconds),
            Trouble::TwoLate => world.kubernetes.view().late = Duration::from_secs(10),
            Trouble::Gone => {
                let mut view = world.kubernetes.view();
                (view.gone, view.shuffled) = (Some(2), true);
            }
            Trouble::Past => {
                world.kubernetes.view().past = Duration::from_secs(30);
                let deaths = [random.random_range(5..15), random.random_range(15..30)];
                let mut effects = 0;
                world.calls.judge(Box::new(move |call| {
                    effects += usize::from(call.is_effect);
                    if call.is_effect && deaths.contains(&effects) { Fate::DiesAfter } else { Fate::Passes }
                }));
            }
            Trouble::Clock(seconds) => {
                let (from, to) = (random.random_range(2..60), random.random_range(60..240));
                tokio::spawn(async move {
                    time::pass(from).await;
                    time::wrong_by(SignedDuration::from_secs(seconds));
                    time::pass(to).await;
                    time::wrong_by(SignedDuration::ZERO);
                });
            }
            Trouble::TwoLeaders => {}
        }
        oracle::run(&world, scenario, Some(undisturbed)).await
    })
}

#[test]
fn stale_and_missed_views() {
    let mut row = Row::new("stale and missed views", "stale_and_missed_views");
    let scenarios = scenario::chosen(&row);
    let ends = workers::map(&scenarios, undisturbed);
    let mut cases = Vec::new();
    for (scenario, (end, _)) in scenarios.iter().zip(&ends) {
        for trouble in TROUBLES {
            cases.extend((0..4).map(|n| (scenario, end, trouble, row.seed * 1000 + n)));
        }
    }
    let cases = sample(&row, cases, count(800, 9));
    row.tried(cases.len());
    for violations in workers::map(&cases, |(scenario, undisturbed, trouble, seed)| {
        let end = run(scenario, undisturbed, *trouble, *seed);
        let mut violations = oracle::compare(&end, undisturbed, trouble.costs(undisturbed));
        // Each of two has a budget of its own.
        violations.retain(|what| trouble.leaders() == 1 || !what.contains("within a minute"));
        violations.into_iter().map(|what| format!("{} {trouble:?} {seed}: {what}", scenario.name)).collect::<Vec<_>>()
    }) {
        violations.into_iter().for_each(|what| row.violated(what));
    }
    row.finish();
}

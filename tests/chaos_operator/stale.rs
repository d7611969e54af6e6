//! Stale and missed views: lists and watches are delayed, incomplete, or reordered; the clock is wrong; two operators
//! lead at once.

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    cases::{self, Disturbance},
    cluster::Cluster,
    gate::Fate,
    oracle::End,
    row::{Row, count},
    time,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// Watch events are delayed by up to this number of seconds.
    Late(u64),
    /// Every second watch begins with 410 Gone, and lists are in random order.
    Gone,
    /// The operator is restarted twice, and its first lists are old.
    Past,
    /// The wall clock jumps by this number of seconds, and back.
    Clock(i64),
    TwoLeaders,
    /// Two leaders with late views.
    TwoLate,
}

const VIEWS: [View; 9] = [
    View::Late(2),
    View::Late(40),
    View::Gone,
    View::Past,
    View::Clock(3600),
    View::Clock(-3600),
    View::Clock(90),
    View::TwoLeaders,
    View::TwoLate,
];

impl View {
    fn leaders(self) -> usize {
        match self {
            View::TwoLeaders | View::TwoLate => 2,
            View::Late(_) | View::Gone | View::Past | View::Clock(_) => 1,
        }
    }
}

/// A view with a seed.
#[derive(Debug)]
struct Seeded(View, u64);

impl Disturbance for Seeded {
    fn start_cluster(&self) -> Cluster {
        let &Seeded(view, seed) = self;
        let cluster = Cluster::start(1, view.leaders());
        let mut random = StdRng::seed_from_u64(seed);
        if view.leaders() == 2 {
            // The lease expires, so the overlap ends.
            cluster.calls.set_latency(Duration::from_millis(20));
            cluster.end_one_after(random.random_range(5..60));
        }
        cluster.kubernetes.view().random = StdRng::seed_from_u64(seed);
        match view {
            View::Late(seconds) => cluster.kubernetes.view().late = Duration::from_secs(seconds),
            View::TwoLate => cluster.kubernetes.view().late = Duration::from_secs(10),
            View::Gone => {
                let mut view = cluster.kubernetes.view();
                (view.gone, view.shuffled) = (Some(2), true);
            }
            View::Past => {
                cluster.kubernetes.view().past = Duration::from_secs(30);
                let deaths = [random.random_range(5..15), random.random_range(15..30)];
                let mut effects = 0;
                cluster.calls.judge(Box::new(move |call| {
                    effects += usize::from(call.is_effect);
                    if call.is_effect && deaths.contains(&effects) { Fate::DiesAfter } else { Fate::Passes }
                }));
            }
            View::Clock(seconds) => {
                let (from, to) = (random.random_range(2..60), random.random_range(60..240));
                tokio::spawn(async move {
                    time::pass(from).await;
                    time::set_clock_error(SignedDuration::from_secs(seconds));
                    time::pass(to).await;
                    time::set_clock_error(SignedDuration::ZERO);
                });
            }
            View::TwoLeaders => {}
        }
        cluster
    }

    /// A decision on a stale view is repeated, every 5 s if the view shows a deleted object. Two leaders each write
    /// everything, and again after the writes of the other, since they do not share state.
    fn extra_writes(&self, undisturbed: &End) -> usize {
        let all: usize = undisturbed.writes.values().flat_map(BTreeMap::values).sum();
        let late = if let View::Late(seconds) = self.0 { usize::try_from(seconds).unwrap() / 5 } else { 0 };
        12 + late + 2 * (self.0.leaders() - 1) * (all + 12)
    }

    /// Two leaders have separate budgets.
    fn tolerates(&self, violation: &str) -> bool {
        self.0.leaders() == 2 && violation.contains("within a minute")
    }
}

/// One leader removed the registration intent of the other, and both registered.
const KEPT: &[&str] = &["recreated_by_force Seeded(TwoLate, "];

#[test]
fn stale_and_missed_views() {
    let mut row = Row::new("stale and missed views", "stale_and_missed_views");
    let seed = row.seed * 1000;
    cases::try_all(&mut row, count(800, 9), KEPT, |_| {
        VIEWS.into_iter().flat_map(|view| (0..4).map(move |n| Seeded(view, seed + n))).collect()
    });
    row.finish();
}

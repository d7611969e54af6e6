//! A random sample of cases, deterministic by seed.

use std::collections::BTreeSet;

use crate::row::Row;

/// At most `most` of the cases, drawn by the row's seed, in their order.
pub fn sample<T>(row: &Row, cases: Vec<T>, most: usize) -> Vec<T> {
    if cases.len() <= most {
        return cases;
    }
    let chosen: BTreeSet<usize> = rand::seq::index::sample(&mut row.rng(), cases.len(), most).into_iter().collect();
    cases.into_iter().enumerate().filter(|(number, _)| chosen.contains(number)).map(|(_, case)| case).collect()
}

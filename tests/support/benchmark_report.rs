//! The table of a benchmark: goals, measured values, verdicts.

use std::{fmt::Write, time::Duration};

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) goal: &'static str,
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    /// `None` for a row without a goal.
    pub(crate) met: Option<bool>,
}

impl Row {
    /// A row without a goal.
    pub(crate) fn note(goal: &'static str, what: impl Into<String>, measured: String) -> Self {
        Row { goal, what: what.into(), wanted: String::new(), measured, met: None }
    }

    /// A row whose `value` must be at most `limit`.
    pub(crate) fn at_most(goal: &'static str, what: impl Into<String>, value: f64, limit: f64, unit: &str) -> Self {
        let (wanted, measured) = (format!("≤ {}", amount(limit, unit)), amount(value, unit));
        Row { goal, what: what.into(), wanted, measured, met: Some(value <= limit) }
    }

    /// A row whose `value` must be at least `limit`.
    pub(crate) fn at_least(goal: &'static str, what: impl Into<String>, value: f64, limit: f64, unit: &str) -> Self {
        let (wanted, measured) = (format!("≥ {}", amount(limit, unit)), amount(value, unit));
        Row { goal, what: what.into(), wanted, measured, met: Some(value >= limit) }
    }
}

fn amount(value: f64, unit: &str) -> String {
    let digits = if value.abs() < 100.0 { 2 - usize::from(value.abs() >= 10.0) } else { 0 };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

/// The rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from("| # | what | goal | measured | |\n|---|---|---|---|---|\n");
    for Row { goal, what, wanted, measured, met } in rows {
        let met = match met {
            None => "",
            Some(true) => "met",
            Some(false) => "**missed**",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {goal} | {what} | {wanted} | {measured} | {met} |");
    }
    table
}

/// The quantile `share` of `times` in milliseconds; 0 if there are none.
pub(crate) fn quantile(mut times: Vec<Duration>, share: f64) -> f64 {
    times.sort_unstable();
    let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

//! P5: the throughput to a sink of 5 ms, of which a few events fail or hang, against that without them. Each pair is
//! measured in turn, and medians are compared.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use linktree_operator::route;

use crate::{
    Arguments,
    load::{self, Load},
    request::Requests,
    say,
    sink::{Behavior, Sink},
    subject,
    support::benchmark_report::Row,
};

/// How long the sink takes for an event.
const SINK_DELAY: Duration = Duration::from_millis(5);
/// How long it takes for an event that hangs; its time-out is longer.
const HANG: Duration = Duration::from_secs(10);
const TIMEOUT_SECONDS: u32 = 30;
/// One event in so many hangs.
const HANGING_SHARE: usize = 100;
/// The number of events that are always answered 500: the first ones.
const POISON: usize = 20;
/// How long throughput is measured: twice as long as an event hangs, so that as many hang at once as ever will.
const WINDOW: Duration = Duration::from_secs(20);
/// More events per second than the sink can take.
const STORED_PER_SECOND: f64 = 2_000.0;
const ROUNDS: usize = 3;

/// Adds the lines on hanging and on poison events.
pub(crate) fn measure(arguments: &Arguments, rows: &mut Vec<Row>) -> Result<()> {
    let rounds = if arguments.quick { 1 } else { ROUNDS };
    let (mut plain, mut hanging, mut poisoned) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(throughput(arguments, "5 ms", |_| Behavior::After(SINK_DELAY))?);
        hanging.push(throughput(arguments, "1 % hang", |number| {
            Behavior::After(if number % HANGING_SHARE == 7 { HANG } else { SINK_DELAY })
        })?);
        poisoned.push(throughput(arguments, "20 fail", |number| {
            if number < POISON { Behavior::Fail } else { Behavior::After(SINK_DELAY) }
        })?);
    }
    let plain = median(plain);
    rows.push(Row::note("P5", "throughput to a sink of 5 ms", format!("{plain:.0} per second")));
    let what = "the same with 1 % of events hanging for 10 s, against without";
    rows.push(Row::at_least("P5", what, median(hanging) / plain, 0.5, "×"));
    let what = format!("the same with {POISON} events that are always answered 500, against without");
    rows.push(Row::at_least("P5", what, median(poisoned) / plain, 0.9, "×"));
    Ok(())
}

/// Events per second that the sink accepts within 5 ms while more wait for it.
fn throughput(arguments: &Arguments, name: &str, behavior: fn(usize) -> Behavior) -> Result<f64> {
    // Longer than the hold that the first failing events cause.
    let window = if arguments.quick { Duration::from_secs(3) } else { WINDOW };
    let directory = arguments.workplace()?;
    let sink = Sink::behaving(behavior)?;
    let mut target = route::Sink::new("sink", format!("http://{}/", sink.address).parse()?);
    target.timeout_seconds = TIMEOUT_SECONDS;
    let server = subject::receiver_with(directory.path(), vec![target])?;
    let count = (STORED_PER_SECOND * window.as_secs_f64()) as usize;
    let load = Load { connections: 64, duration: Duration::from_secs(60), rate: None };
    let requests = Requests::build(count, subject::PATH);
    let began = Instant::now();
    let stored = load::send(server.address, load, &requests)?.count(200);
    ensure!(stored == count, "the receiver rejected {} requests", count - stored);
    while began.elapsed() < window && sink.taken() < stored {
        std::thread::sleep(Duration::from_millis(5));
    }
    let rate = sink.taken() as f64 / began.elapsed().as_secs_f64();
    say(&format!("{name}: {rate:.0} per second"));
    Ok(rate)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! The goals P1 to P6, one function each, in order. Each starts its own servers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    Arguments, beside, disk,
    load::{self, Answer, Answers, Load},
    log_size,
    request::Requests,
    say,
    server::{Server, pin_generator},
    sink::{Sink, black_hole},
    stored, subject,
    support::benchmark_report::{Row, quantile},
};

/// The number of connections of the closed loop.
const CONNECTIONS: usize = 256;
/// The rate of P5 per second, well below the capacity of one sink.
const HEALTHY_RATE: f64 = 1_000.0;
/// Requests built per second of measurement: more than any server here can take.
const CEILING: f64 = 120_000.0;

/// The result of a closed loop.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// CPU time per response 200, in microseconds.
    cpu: f64,
    per_second: f64,
    p99: f64,
}

/// Measures the selected goals. A goal that needs the result of another one measures it again, in the same run.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>> {
    pin_generator()?;
    let directory = arguments.workplace()?;
    let (p50, sync) = disk::sync_times(directory.path(), if arguments.quick { 20 } else { 500 })?;
    let mut rows =
        vec![Row::note("", "the disk's fdatasync of 4 KiB, p50 and p99", format!("{p50:.2} ms, {sync:.2} ms"))];
    let bare = cost(arguments, "a bare hyper", &subject::bare(directory.path())?, CEILING)?;
    rows.push(Row::note(
        "",
        "bare hyper: CPU per request, and the generator's ceiling",
        format!("{:.1} µs, {:.0} per second", bare.cpu, bare.per_second),
    ));
    let durable = durable(arguments, &mut rows)?;
    if arguments.wants("P2") {
        let forgetful = subject::forgetful(arguments.workplace()?.path())?;
        let forgetful = cost(arguments, "the receiver without a journal", &forgetful, CEILING)?;
        let what = format!("CPU with the journal against without ({:.1} µs)", forgetful.cpu);
        rows.push(Row::at_most("P2", what, durable.cpu / forgetful.cpu, 2.0, "×"));
    }
    if arguments.wants("P3") {
        rows.push(Row::at_most("P3", "CPU against bare hyper", durable.cpu / bare.cpu, 3.0, "×"));
        peers(arguments, durable, &mut rows)?;
    }
    if arguments.wants("P4") {
        half_load(arguments, durable.per_second, sync, &mut rows)?;
        overload(arguments, durable.per_second, &mut rows)?;
    }
    if arguments.wants("P5") {
        black_holed(arguments, &mut rows)?;
        beside::measure(arguments, &mut rows)?;
    }
    if arguments.wants("P6") {
        stored::restart(arguments, &mut rows)?;
    }
    rows.push(Row::at_most("P4", "longest write-ahead log of all runs", log_size::longest(), 32.0, "MiB"));
    Ok(rows)
}

/// P1, and the memory of P6 at full load.
fn durable(arguments: &Arguments, rows: &mut Vec<Row>) -> Result<Cost> {
    let directory = arguments.workplace()?;
    let server = subject::receiver(directory.path(), &[])?;
    let idle = server.resident()?;
    let durable = cost(arguments, "the receiver", &server, 60_000.0)?;
    rows.push(Row::at_most("P1", "CPU per durable event, 256 connections", durable.cpu, 32.0, "µs"));
    rows.push(Row::at_least("P1", "durable events", durable.per_second, 25_000.0, "per second"));
    rows.push(Row::note("P1", "ack p99 in that closed loop", format!("{:.1} ms", durable.p99)));
    rows.push(Row::at_most("P6", "memory when idle", idle, 30.0, "MiB"));
    rows.push(Row::at_most("P6", "memory at full load, at most", server.peak()?, 80.0, "MiB"));
    Ok(durable)
}

fn peers(arguments: &Arguments, durable: Cost, rows: &mut Vec<Row>) -> Result<()> {
    if let Some(modules) = &arguments.express {
        let express = cost(arguments, "the page's handler on Express", &subject::express(modules)?, 20_000.0)?;
        let what = format!("CPU against the page's Express handler ({:.0} µs), which stores nothing", express.cpu);
        rows.push(Row::at_most("P3", what, durable.cpu / express.cpu, 1.0 / 8.0, "×"));
    }
    // Both forward to the same sink. The receiver's load is within the capacity of its one worker per sink.
    let Some(program) = &arguments.qhook else { return Ok(()) };
    let sink = Sink::start()?;
    let directory = arguments.workplace()?;
    let qhook = subject::qhook(program, directory.path(), sink.address)?;
    let qhook = forwarding(arguments, "qhook", &qhook, &sink)?;
    let directory = arguments.workplace()?;
    let receiver = subject::receiver(directory.path(), &[("sink", sink.address)])?;
    let receiver = forwarding(arguments, "the receiver, forwarding", &receiver, &sink)?;
    let what = format!("CPU against qhook ({qhook:.0} µs), both storing and forwarding (ours: {receiver:.0} µs)");
    rows.push(Row::at_most("P3", what, receiver / qhook, 1.0 / 12.0, "×"));
    Ok(())
}

/// CPU per event, from the first request to the last forward.
fn forwarding(arguments: &Arguments, name: &str, server: &Server, sink: &Sink) -> Result<f64> {
    say(&format!("{name} …"));
    let load = Load { connections: 64, duration: arguments.duration() / 2, rate: None };
    let requests = Requests::build((5_000.0 * load.duration.as_secs_f64()) as usize, subject::PATH);
    let (before, taken) = (server.cpu()?, sink.taken());
    let answers = load::send(server.address, load, &requests)?;
    let accepted = answers.count(200);
    ensure!(accepted > 0, "{name} accepted nothing");
    let deadline = Instant::now() + Duration::from_secs(if arguments.quick { 10 } else { 30 });
    while sink.taken() - taken < accepted && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (forwarded, cpu) = (sink.taken() - taken, server.cpu()? - before);
    say(&format!("{name}: {accepted} accepted, {forwarded} forwarded"));
    // If not all events were forwarded in time, CPU time is divided by the accepted ones, in favour of the peer.
    Ok(cpu.as_secs_f64() * 1e6 / accepted as f64)
}

fn half_load(arguments: &Arguments, peak: f64, sync: f64, rows: &mut Vec<Row>) -> Result<()> {
    let directory = arguments.workplace()?;
    let server = subject::receiver(directory.path(), &[])?;
    let answers = open_loop(arguments, &server, peak / 2.0, CONNECTIONS)?;
    let what = format!("ack p99 at half load ({:.0} per second)", peak / 2.0);
    rows.push(Row::at_most("P4", what, answers.milliseconds(200, 0.99), 2.0 * sync + 2.0, "ms"));
    Ok(())
}

fn overload(arguments: &Arguments, peak: f64, rows: &mut Vec<Row>) -> Result<()> {
    let directory = arguments.workplace()?;
    let server = subject::receiver(directory.path(), &[])?;
    // The same number of connections as at overload, since only the load must not take memory.
    open_loop(arguments, &server, peak / 2.0, 3 * CONNECTIONS)?;
    let before = server.peak()?;
    let answers = open_loop(arguments, &server, 2.0 * peak, 3 * CONNECTIONS)?;
    let (kept, rejected) = (answers.rate(200), answers.count(503));
    rows.push(Row::at_least("P4", "goodput at twice the peak's load, against the peak", kept / peak, 0.9, "×"));
    let what = format!("p99 of the {rejected} answers 503 ({} requests found no free connection)", answers.unsent);
    rows.push(Row::at_most("P4", what, answers.waited(503, 0.99), 50.0, "ms"));
    rows.push(Row::at_most("P4", "memory at overload against before", server.peak()? / before, 1.25, "×"));
    Ok(())
}

/// P5: the effect of an unresponsive sink on the sender and on another sink. The allowed difference is below the
/// variation of the disk, so both are measured several times in turn, and medians are compared.
fn black_holed(arguments: &Arguments, rows: &mut Vec<Row>) -> Result<()> {
    let rounds = if arguments.quick { 1 } else { 5 };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(healthy(arguments, &[])?);
        beside.push(healthy(arguments, &[("hole", black_hole()?)])?);
    }
    let ack = |rounds: &[Delays]| median(rounds.iter().map(|delays| delays.ack).collect());
    let forward = |rounds: &[Delays]| median(rounds.iter().map(|delays| delays.forward).collect());
    let what = format!("forwarded after the ack, p99 at {HEALTHY_RATE:.0} per second");
    rows.push(Row::at_most("P5", what, forward(&alone), 15.0, "ms"));
    let what = format!("ack p99 beside a black-holed sink, against {:.2} ms without", ack(&alone));
    rows.push(Row::at_most("P5", what, ack(&beside) / ack(&alone), 1.05, "×"));
    let what = format!("the healthy sink's p99 beside it, against {:.2} ms", forward(&alone));
    rows.push(Row::at_most("P5", what, forward(&beside) / forward(&alone), 1.05, "×"));
    Ok(())
}

/// 99th percentiles in milliseconds: from the due time of a request to its ack, and from the ack to the healthy sink.
struct Delays {
    ack: f64,
    forward: f64,
}

fn healthy(arguments: &Arguments, others: &[(&str, SocketAddr)]) -> Result<Delays> {
    let directory = arguments.workplace()?;
    let sink = Sink::start()?;
    let sinks = [&[("healthy", sink.address)], others].concat();
    let server = subject::receiver(directory.path(), &sinks)?;
    let answers = open_loop(arguments, &server, HEALTHY_RATE, CONNECTIONS)?;
    std::thread::sleep(Duration::from_millis(200));
    let arrivals = sink.arrivals();
    let late = |answer: &Answer| Some(arrivals.get(&answer.request)?.saturating_duration_since(answer.at));
    let late: Vec<Duration> = answers.all.iter().filter_map(late).collect();
    ensure!(late.len() * 100 >= answers.count(200) * 99, "the healthy sink missed events");
    Ok(Delays { ack: answers.milliseconds(200, 0.99), forward: quantile(late, 0.99) })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs a closed loop with `server`; `at_most` requests per second are expected.
fn cost(arguments: &Arguments, name: &str, server: &Server, at_most: f64) -> Result<Cost> {
    say(&format!("{name} …"));
    let load = Load { connections: CONNECTIONS, duration: arguments.duration(), rate: None };
    let warm = Load { duration: arguments.duration() / 8, ..load };
    load::send(
        server.address,
        warm,
        &Requests::build((at_most * warm.duration.as_secs_f64()) as usize, subject::PATH),
    )?;
    let requests = Requests::build((at_most * load.duration.as_secs_f64()) as usize, subject::PATH);
    let before = server.cpu()?;
    let answers = load::send(server.address, load, &requests)?;
    let cpu = server.cpu()? - before;
    let accepted = answers.count(200);
    ensure!(accepted == answers.all.len(), "{name} rejected {} requests", answers.all.len() - accepted);
    let cost = Cost {
        cpu: cpu.as_secs_f64() * 1e6 / accepted as f64,
        per_second: answers.rate(200),
        p99: answers.milliseconds(200, 0.99),
    };
    say(&format!("{name}: {:.1} µs, {:.0} per second, p99 {:.1} ms", cost.cpu, cost.per_second, cost.p99));
    Ok(cost)
}

fn open_loop(arguments: &Arguments, server: &Server, rate: f64, connections: usize) -> Result<Answers> {
    say(&format!("open loop, {rate:.0} per second …"));
    let load = Load { connections, duration: arguments.duration() / 2, rate: Some(rate) };
    let warm = Load { duration: arguments.duration() / 8, ..load };
    load::send(server.address, warm, &Requests::build((rate * warm.duration.as_secs_f64()) as usize, subject::PATH))?;
    let requests = Requests::build((rate * load.duration.as_secs_f64()) as usize, subject::PATH);
    load::send(server.address, load, &requests)
}

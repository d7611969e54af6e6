//! Answers of sinks whose API reports errors in the body of a 200: success conditions as our examples and other APIs
//! need them, with every status and shape of body. Each case is a sink of its own with one event.

use linktree_operator::route::Sink;
use rand::seq::SliceRandom;
use serde_json::Value;
use url::Url;

use super::{
    answer_bodies::{Body, Ending, bodies},
    deliveries::{Connection, Delivery, in_time},
    process::{self, Process},
    recorder::{Recorder, Step},
    row::{Row, count},
};

/// A success condition, and its meaning for a status and a body: the oracle.
struct Condition {
    source: Option<&'static str>,
    holds: fn(u16, &Value) -> bool,
}

/// Sinks of one receiver.
const AT_ONCE: usize = 80;
/// The time-out of a sink whose answer never ends, and of the others.
const SHORT_TIMEOUT: u32 = 2;
const TIMEOUT: u32 = 15;
const STATUSES: [u16; 10] = [200, 200, 201, 202, 299, 301, 400, 404, 429, 500];

const CONDITIONS: [Condition; 9] = [
    Condition { source: None, holds: |_, _| true },
    // Slack's Web API, Telegram.
    Condition { source: Some("answer.body.ok == true"), holds: |_, body| body["ok"] == true },
    Condition { source: Some("has(answer.body.ok) && answer.body.ok"), holds: |_, body| body["ok"] == true },
    // Teams: workflows answer 202, connectors 200 with the body 1.
    Condition {
        source: Some("answer.status == 202 || answer.body == 1"),
        holds: |status, body| status == 202 || body.as_f64() == Some(1.0),
    },
    // GraphQL.
    Condition {
        source: Some("has(answer.body.data) && !has(answer.body.errors)"),
        holds: |_, body| body.get("data").is_some() && body.get("errors").is_none(),
    },
    // DingTalk, WeCom.
    Condition { source: Some("answer.body.errcode == 0"), holds: |_, body| body["errcode"] == 0 },
    // Feishu's two versions.
    Condition {
        source: Some("has(answer.body.code) ? answer.body.code == 0 : answer.body.StatusCode == 0"),
        holds: |_, body| if body.get("code").is_some() { body["code"] == 0 } else { body["StatusCode"] == 0 },
    },
    // A bulk API.
    Condition {
        source: Some("answer.body.result[0].status == 'ok'"),
        holds: |_, body| body["result"][0]["status"] == "ok",
    },
    Condition { source: Some("answer.body == null"), holds: |_, body| body.is_null() },
];

struct Case {
    condition: &'static Condition,
    status: u16,
    body: Body,
}

impl Case {
    /// Whether the sink has taken the event.
    fn is_taken(&self) -> bool {
        let read = match self.body.ending {
            Ending::Whole | Ending::Chunked | Ending::Slow => &self.body.read,
            Ending::Short | Ending::BrokenChunk | Ending::Never => return false,
        };
        (200..300).contains(&self.status) && (self.condition.holds)(self.status, read)
    }

    fn name(&self) -> String {
        format!("{:?}, status {}, body {}", self.condition.source, self.status, self.body.name)
    }

    fn sink(&self, n: usize, sink: &Recorder) -> Sink {
        let url = Url::parse(&format!("http://{}/{n}", sink.address)).unwrap();
        let timeout_seconds = if self.body.ending == Ending::Never { SHORT_TIMEOUT } else { TIMEOUT };
        let success_condition = self.condition.source.map(str::to_owned);
        Sink { success_condition, timeout_seconds, ..Sink::new(&format!("s{n}"), url) }
    }
}

#[test]
fn answers_of_sinks() {
    let mut row = Row::new("answers and successCondition", "answers_of_sinks");
    let mut cases = cases();
    cases.shuffle(&mut row.rng());
    cases.truncate(count(1200, 80));
    row.tried(cases.len());
    let whole = cases.len();
    let mut taken = 0;
    while !cases.is_empty() {
        let some = cases.split_off(cases.len().saturating_sub(AT_ONCE));
        taken += some.iter().filter(|case| case.is_taken()).count();
        run(&some, &mut row);
    }
    assert!(taken * 20 > whole && taken < whole, "the cases are one-sided: {taken} of {whole} are taken");
    row.finish();
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for condition in &CONDITIONS {
        for body in bodies() {
            // Without a condition, the status is the answer.
            if condition.source.is_none() && body.ending != Ending::Whole {
                continue;
            }
            cases.extend(STATUSES.map(|status| Case { condition, status, body: body.clone() }));
        }
        let empty = || bodies().into_iter().find(|body| body.bytes.is_empty()).unwrap();
        cases.extend([204, 304].map(|status| Case { condition, status, body: empty() }));
    }
    cases
}

/// Sends one event to a receiver with a sink for each case.
fn run(cases: &[Case], row: &mut Row) {
    let answers: Vec<Vec<Step>> = cases.iter().map(|case| case.body.answer(case.status)).collect();
    let sink = Recorder::start(move |request| answers[request.path[1..].parse::<usize>().unwrap()].clone());
    let directory = process::directory();
    let mut route = process::route(None);
    route.sinks = cases.iter().enumerate().map(|(n, case)| case.sink(n, &sink)).collect();
    process::write_route(directory.path(), &route);
    let receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    assert_eq!(Connection::open(receiver.delivery).unwrap().deliver(&Delivery::numbered(0)).unwrap().0, 200);
    let mut found = Value::Null;
    let ended = |sink: &Value| sink["backlog"] == 0 || !sink["lastFailure"].is_null();
    let all = in_time(|| {
        found = receiver.status()["sinks"].take();
        found.as_array().is_some_and(|sinks| sinks.len() == cases.len() && sinks.iter().all(ended))
    });
    if !all {
        row.violated(format!("not every sink was tried in time: {found}"));
        return;
    }
    for (n, case) in cases.iter().enumerate() {
        let state = &found[n];
        let taken = state["backlog"] == 0 && state["deadLettered"] == 0;
        if taken != case.is_taken() {
            row.violated(format!("{}: taken {taken}, {state}", case.name()));
        }
        let requests = sink.requests().iter().filter(|request| request.path == format!("/{n}")).count();
        if taken && requests != 1 {
            row.violated(format!("{}: taken, but sent {requests} times", case.name()));
        }
    }
    drop(receiver);
}

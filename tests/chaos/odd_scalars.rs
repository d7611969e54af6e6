//! Bodies that other readers stumble over: every event arrives at a sink of every format, as `JSON.parse` in Node would
//! read it. Bodies that it rejects arrive where they are forwarded unchanged, and the others say why not.

use std::{collections::BTreeMap, fmt::Write};

use base64::prelude::{BASE64_STANDARD, Engine};
use linktree_operator::{
    linktree::json,
    route::{Format, Sink, TemplateSource},
};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::{
    deliveries::{Connection, in_time, now, page, request},
    odd_bodies::{NO_OBJECTS, Odd},
    process::{self, Process},
    recorder::{Recorder, Request},
    row::{Row, count},
};

/// The sinks that get every body, and those that need a JSON object.
const UNCHANGED: [&str; 3] = ["binary", "structured", "raw"];
const READING: [&str; 5] = ["filtered", "json", "form", "html", "text"];

#[test]
fn odd_scalars() {
    let mut row = Row::new("odd scalars (x 8 sinks)", "odd_scalars");
    let mut rng = row.rng();
    let sink = Recorder::healthy();
    let directory = process::directory();
    let mut route = process::route(None);
    route.sinks = sinks(&sink);
    process::write_route(directory.path(), &route);
    let receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    let mut connection = Connection::open(receiver.delivery).unwrap();
    let odd: Vec<Odd> = (0..count(2000, 60)).map(|n| Odd::random(n, &mut rng)).collect();
    let bodies: Vec<&[u8]> = odd.iter().map(|odd| odd.bytes.as_slice()).chain(NO_OBJECTS).collect();
    for (n, body) in bodies.iter().enumerate() {
        connection.send(&request(&format!("d{n}"), now(), body)).unwrap();
        let answer = connection.answer().unwrap();
        if answer.0 != 200 {
            row.violated(format!("{:?} was answered {answer:?}", String::from_utf8_lossy(body)));
        }
        row.tried(1);
    }
    until_settled(&receiver);
    let arrived: Vec<(Request, Option<usize>)> =
        sink.requests().into_iter().map(|request| (request.clone(), number(&request, &bodies))).collect();
    for (n, body) in bodies.iter().enumerate() {
        let mut wrong = String::new();
        let of = |path: &str| {
            let mut found = arrived.iter().filter(|(request, number)| request.path == path && *number == Some(n));
            found.next().map(|(request, _)| request)
        };
        for name in UNCHANGED {
            match of(&format!("/{name}")) {
                Some(request) => check_unchanged(name, request, body, &mut wrong),
                None => writeln!(wrong, "never arrived at {name}").unwrap(),
            }
        }
        match odd.get(n) {
            Some(odd) => READING.iter().for_each(|name| match of(&format!("/{name}")) {
                Some(request) => check_read(name, request, odd, &mut wrong),
                None => writeln!(wrong, "never arrived at {name}").unwrap(),
            }),
            None => check_rejected(&receiver, n + 1, &mut wrong),
        }
        if !wrong.is_empty() {
            row.violated(format!("{wrong} of {:?}", String::from_utf8_lossy(&body[..body.len().min(400)])));
        }
    }
    if let Some((stray, _)) = arrived.iter().find(|(_, number)| number.is_none()) {
        row.violated(format!("at {}: {:?}", stray.path, String::from_utf8_lossy(&stray.body)));
    }
    row.finish();
}

fn sinks(sink: &Recorder) -> Vec<Sink> {
    let template = |content_type: &str, body: &str| {
        let (body, content_type) = (body.to_owned(), content_type.to_owned());
        Format::Template(TemplateSource { body, content_type, headers: BTreeMap::new() })
    };
    let json = r#"{"id": "{{ event.data.link_id }}", "title": {{ event.data.title }}, "inner": "<{{ event.data.title }}>",
        "n": "{{ event.data.n }}", "bare": [{{ event.data.n }}, {{ event.timestamp }}], "type": "{{ event.type }}"}"#;
    let form = "id={{ event.data.link_id }}&title={{ event.data.title }}&n={{ event.data.n }}&type={{ event.type }}";
    let html = "<i>{{ event.data.link_id }}</i><b>{{ event.data.title }}</b>";
    let text = "{{ event.data.link_id }} {{ event.data.title }}";
    let formats = [
        ("binary", Format::CloudEvent),
        ("structured", Format::CloudEventStructured),
        ("raw", Format::Raw),
        ("filtered", Format::Raw),
        ("json", template("application/json", json)),
        ("form", template("application/x-www-form-urlencoded", form)),
        ("html", template("text/html; charset=utf-8", html)),
        ("text", template("text/plain", text)),
    ];
    let sink = |(name, format): (&str, Format)| {
        let url = Url::parse(&format!("http://{}/{name}", sink.address)).unwrap();
        let filter = (name == "filtered").then(|| "event.data.link_id.startsWith('l') && event.type != ''".to_owned());
        Sink { format, filter, ..Sink::new(name, url) }
    };
    formats.into_iter().map(sink).collect()
}

fn until_settled(receiver: &Process) {
    let mut left = Value::Null;
    let mut shrinks = || {
        let now = receiver.status()["backlog"].take();
        let shrunk = now != left;
        left = now;
        shrunk
    };
    while in_time(&mut shrinks) {
        if receiver.status()["backlog"] == 0 {
            return;
        }
    }
    panic!("events are waiting: {}", receiver.status());
}

/// The number of the body that a request is about.
fn number(request: &Request, bodies: &[&[u8]]) -> Option<usize> {
    let link = |id: &str| id.strip_prefix('l')?.parse().ok();
    let text = || std::str::from_utf8(&request.body).ok();
    match request.path.as_str() {
        "/binary" => request.header("ce-id")?.strip_prefix('d')?.parse().ok(),
        "/structured" => {
            let event = json::read(&request.body).ok()?;
            event["id"].as_str()?.strip_prefix('d')?.parse().ok()
        }
        "/json" => link(serde_json::from_slice::<Value>(&without_numbers(&request.body)).ok()?["id"].as_str()?),
        "/form" => link(&form_urlencoded::parse(&request.body).find(|(name, _)| name == "id")?.1),
        "/html" => link(text()?.strip_prefix("<i>")?.split_once("</i>")?.0),
        "/text" => link(text()?.split_once(' ')?.0),
        _ => bodies.iter().position(|body| *body == request.body),
    }
}

fn check_unchanged(name: &str, request: &Request, body: &[u8], wrong: &mut String) {
    let same = match name {
        "structured" => {
            // Its data is as odd as the body.
            let event = json::read(&request.body).unwrap_or_default();
            match event["data_base64"].as_str() {
                Some(encoded) => BASE64_STANDARD.decode(encoded).is_ok_and(|data| data == body),
                None => request.body.windows(body.len().max(1)).any(|window| window == body),
            }
        }
        _ => request.body == body,
    };
    if !same {
        writeln!(wrong, "changed at {name}: {:?}", String::from_utf8_lossy(&request.body)).unwrap();
    }
}

/// Compares what arrived with what Node reads.
fn check_read(name: &str, request: &Request, odd: &Odd, wrong: &mut String) {
    let text = String::from_utf8_lossy(&request.body);
    let well = match name {
        "filtered" => request.body == odd.bytes,
        "json" => {
            let read: Value = serde_json::from_slice(&without_numbers(&request.body)).unwrap_or_default();
            read["title"] == odd.title.as_str()
                && read["inner"] == format!("<{}>", odd.title)
                && read["type"] == odd.event_type
                && read["n"].as_str().is_some_and(|number| odd.is_number(number))
                && bare(&text).iter().all(|number| odd.is_number(number))
        }
        "form" => {
            let read: BTreeMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
            read["title"] == odd.title && odd.is_number(&read["n"]) && read["type"] == odd.event_type
        }
        // Escaped for markup, and without the characters that it cannot hold.
        "html" => !text.contains(|c: char| c.is_ascii_control() && !c.is_ascii_whitespace() && c != '\x7f'),
        _ => text.ends_with(&odd.title),
    };
    if !well {
        writeln!(wrong, "misread at {name}: {text:?}, expected {:?}, {}", odd.title, odd.number).unwrap();
    }
}

/// The numbers outside of quotes.
fn bare(text: &str) -> [&str; 2] {
    let inner = text.split_once("\"bare\": [").unwrap().1.split_once(']').unwrap().0;
    let (first, second) = inner.split_once(", ").unwrap();
    [first, second]
}

/// The JSON without the numbers outside of quotes, which `serde_json` may be unable to read.
fn without_numbers(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json).into_owned();
    let numbers = bare(&text).join(", ");
    text.replace(&format!("[{numbers}]"), "[]").into_bytes()
}

/// Checks that a body which is no JSON object is a dead letter of the sinks that read it, with the true reason.
fn check_rejected(receiver: &Process, position: usize, wrong: &mut String) {
    let entry = page(receiver.admin, &format!("/journal/{position}"));
    for name in READING {
        let sinks = entry["sinks"].as_array().unwrap();
        let failure = sinks.iter().find(|sink| sink["name"] == name).and_then(|sink| sink["failure"].as_str());
        if !failure
            .is_some_and(|failure| failure.contains("the event is not JSON") || failure.contains("not a JSON object"))
        {
            writeln!(wrong, "at {name}: {failure:?}").unwrap();
        }
    }
}

//! Which room of a service may import which: ARCHITECTURE.md's direction inside `src/operator` and `src/receiver`.

use std::path::{Path, PathBuf};

use super::{
    assert_none,
    graph::{Graph, of_texts, of_tree},
};

/// The rooms of a service from the top down. Rooms of one line do not import each other; each imports lower lines only.
/// A room is a file or a folder below `src`; the longest name that fits decides.
const SERVICES: [&[&[&str]]; 2] = [
    &[
        &["operator"],
        &["operator/controllers"],
        &["operator/connection", "operator/receiver", "operator/webhook"],
        &["operator/account", "operator/fleet"],
        &["operator/metrics"],
        &["operator/watch", "operator/election"],
        &["operator/kubernetes"],
    ],
    &[
        &["receiver"],
        &["receiver/admin"],
        &["receiver/ingest", "receiver/forward"],
        &["receiver/config"],
        &["receiver/stats"],
        // The pure parts of ingest: their types are the words of the journal, the statistics and the configuration.
        &["receiver/ingest/verdict"],
        &["receiver/sink"],
        &["receiver/journal"],
        &["receiver/ingest/admit", "receiver/ingest/redact"],
        &["receiver/ingest/event"],
    ],
];

/// Files directly in `src/operator`.
const AT_THE_TOP: usize = 8;

/// A service, the line of a room in its table, and the room.
type Place = (usize, usize, &'static str);

fn place(file: &Path) -> Option<Place> {
    let module = file.strip_prefix("src").ok()?.with_extension("");
    let lines = SERVICES.iter().enumerate().flat_map(|(service, lines)| {
        let lines = lines.iter().enumerate();
        lines.flat_map(move |(line, rooms)| rooms.iter().map(move |room| (service, line, *room)))
    });
    let service_itself = |room: &str| !room.contains('/');
    let fits = |room: &str| if service_itself(room) { module == Path::new(room) } else { module.starts_with(room) };
    lines.filter(|(_, _, room)| fits(room)).max_by_key(|(_, _, room)| room.len())
}

fn complaints(graph: &Graph) -> Vec<String> {
    let is_service = |file: &Path| SERVICES.iter().any(|lines| file.starts_with(Path::new("src").join(lines[0][0])));
    let unknown = graph.edges.keys().filter(|file| is_service(file) && place(file).is_none());
    let unknown =
        unknown.map(|file| format!("{}: a new room: say in tests/tidy/rooms.rs what it may import", file.display()));
    let imports = graph.edges.iter().flat_map(|(from, to)| to.keys().map(move |to| (from, to)));
    let upward = imports.filter_map(|(from, to)| {
        let ((from_service, from_line, from_room), (service, line, room)) = (place(from)?, place(to)?);
        let wrong = from_service == service && from_room != room && from_line >= line;
        let names = || graph.names(from, to);
        wrong.then(|| format!("{}: {from_room} must not import {room} ({}: {})", from.display(), to.display(), names()))
    });
    unknown.chain(upward).collect()
}

/// Files directly in a folder, if they are more than `limit`.
fn crowd(files: &[PathBuf], folder: &str, limit: usize) -> Option<String> {
    let files: Vec<&PathBuf> = files.iter().filter(|file| file.parent() == Some(Path::new(folder))).collect();
    (files.len() > limit).then(|| format!("{folder} has {} files, at most {limit}: {files:?}", files.len()))
}

/// Rooms of both services, each with an item.
const ROOMS: [(&str, &str); 14] = [
    ("src/operator.rs", "pub struct Start;"),
    ("src/operator/connection.rs", "pub fn reconcile() {}"),
    ("src/operator/webhook.rs", ""),
    ("src/operator/webhook/spec.rs", "pub struct Spec;"),
    ("src/operator/account/limiter.rs", "pub struct Limiter;"),
    ("src/operator/account.rs", "pub use limiter::Limiter;"),
    ("src/operator/watch.rs", "pub struct Index;"),
    ("src/operator/kubernetes.rs", "pub struct Key;"),
    ("src/receiver.rs", ""),
    ("src/receiver/ingest.rs", ""),
    ("src/receiver/ingest/handler.rs", "pub struct Handler;"),
    ("src/receiver/ingest/event.rs", "pub struct Event;"),
    ("src/receiver/journal.rs", "pub trait Journal {}"),
    ("src/receiver/stats.rs", "pub struct Stats;"),
];

fn with(file: &'static str, text: &'static str) -> Vec<String> {
    complaints(&of_texts(&[&ROOMS[..], &[(file, text)]].concat()))
}

#[test]
fn upward_imports_and_new_rooms_are_reported() {
    let bad = [
        ("src/operator/webhook/spec.rs", "use crate::operator::connection::reconcile;"),
        ("src/operator/connection/open.rs", "use super::super::webhook::spec::Spec;"),
        ("src/operator/watch/index.rs", "use crate::operator::webhook::spec::Spec;"),
        ("src/operator/election.rs", "use super::watch::Index;"),
        ("src/operator/kubernetes/apply.rs", "fn f(_: crate::operator::watch::Index) {}"),
        ("src/operator/metrics.rs", "use super::account::Limiter;"),
        ("src/operator/account/registry.rs", "use crate::operator::Start;"),
        ("src/operator/helpers.rs", ""),
        ("src/receiver/journal/sqlite.rs", "use crate::receiver::ingest::handler::Handler;"),
        ("src/receiver/ingest/event.rs", "use crate::receiver::journal::Journal;"),
        ("src/receiver/sink.rs", "use super::stats::Stats;"),
        ("src/receiver/misc.rs", ""),
    ];
    for (file, text) in bad {
        let found = with(file, text);
        assert_eq!(found.len(), 1, "{file}: {text}: {found:?}");
        assert!(found[0].starts_with(file), "{found:?}");
    }
}

#[test]
fn downward_imports_and_imports_within_a_room_pass() {
    let good = [
        ("src/operator.rs", "use connection::reconcile; use watch::Index;"),
        (
            "src/operator/connection/open.rs",
            "use crate::operator::{account::Limiter, kubernetes::Key}; use super::reconcile;",
        ),
        ("src/operator/account/registry.rs", "use super::Limiter; use crate::operator::watch::Index;"),
        (
            "src/receiver/ingest/handler.rs",
            "use super::event::Event; use crate::receiver::{journal::Journal, stats::Stats};",
        ),
        ("src/receiver/journal/sqlite.rs", "use crate::receiver::ingest::event::Event;"),
        ("src/receiver/stats.rs", "#[cfg(test)] use super::ingest::handler::Handler;"),
        ("src/simulator/anything.rs", ""),
    ];
    for (file, text) in good {
        assert_none(&with(file, text));
    }
}

#[test]
fn a_crowd_of_files_is_reported() {
    let files = ["src/a/b.rs", "src/a/c.rs", "src/a/c/d.rs", "src/e.rs"].map(Into::into);
    assert!(crowd(&files, "src/a", 1).is_some());
    assert_eq!(crowd(&files, "src/a", 2), None);
}

#[test]
fn rooms_import_downward_only() {
    let graph = of_tree();
    let files: Vec<_> = graph.edges.keys().cloned().collect();
    let crowd = crowd(&files, "src/operator", AT_THE_TOP);
    assert_none(&complaints(&graph).into_iter().chain(crowd).collect::<Vec<_>>());
}

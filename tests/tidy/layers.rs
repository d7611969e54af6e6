//! Which module may import which: ARCHITECTURE.md's arrow, as a table.

use std::path::Path;

use super::{
    assert_none,
    paths::{Reference, module_of, read},
    tree,
};

const LEAVES: [&str; 10] = [
    "ca_bundle",
    "clock",
    "egress",
    "jitter",
    "memory_limit",
    "open_files",
    "retry_after",
    "serve",
    "shutdown",
    "telemetry",
];

/// A module at the top, and what it may import besides the leaves.
const LAYERS: [(&str, &[&str]); 7] = [
    ("operator", &["admin", "api", "route", "linktree"]),
    ("receiver", &["admin", "route", "linktree"]),
    ("simulator", &["admin", "linktree"]),
    ("admin", &[]),
    ("api", &["linktree::event"]),
    ("route", &["linktree"]),
    ("linktree", &[]),
];

/// Modules that decide: they take `now`, wait for nothing and touch nothing.
const PURE: [&str; 3] = ["decide", "admit", "state"];
/// What waiting and touching is done with.
const EFFECTS: [&str; 6] = ["tokio", "reqwest", "hyper", "hyper_util", "axum", "rusqlite"];

fn complaints(file: &Path, text: &str) -> Vec<String> {
    let module = module_of(file);
    let Some(top) = module.first().map(String::as_str) else { return Vec::new() };
    if !LEAVES.contains(&top) && !LAYERS.iter().any(|(name, _)| *name == top) {
        return vec![format!("{}: a new module: say in tests/tidy/layers.rs what it may import", file.display())];
    }
    let (references, is_async) = read(file, text);
    let mut complaints: Vec<String> = references
        .iter()
        .filter_map(|reference| refused(top, reference))
        .map(|why| format!("{}: {why}", file.display()))
        .collect();
    if is_pure(&module) {
        complaints.extend(impurities(&references, is_async).map(|why| format!("{}: {why}", file.display())));
    }
    complaints
}

fn refused(top: &str, to: &Reference) -> Option<String> {
    let path = to.next.as_ref().map_or(to.head.clone(), |next| format!("{}::{next}", to.head));
    if !to.ours {
        let kubernetes = to.head == "kube" || to.head == "k8s_openapi";
        return (kubernetes && top != "operator" && top != "api").then(|| format!("{top} must not know Kubernetes"));
    }
    if to.head == top || (LEAVES.contains(&to.head.as_str()) && !LEAVES.contains(&top)) {
        return None;
    }
    if LEAVES.contains(&top) {
        return Some(format!("{top} is a leaf and must not import {path}"));
    }
    let allowed = LAYERS.iter().find(|(name, _)| *name == top).map_or(&[][..], |(_, allowed)| *allowed);
    let may = allowed.iter().any(|allowed| *allowed == to.head || *allowed == path);
    (!may).then(|| format!("{top} must not import {path}"))
}

fn is_pure(module: &[String]) -> bool {
    let in_contract = module[0] == "linktree" && module.get(1).is_none_or(|part| part != "client");
    // The receiver has other things of this name.
    let makes_status = module[0] == "operator" && module.iter().any(|part| part == "status");
    in_contract || makes_status || module.iter().any(|part| PURE.contains(&part.as_str()))
}

fn impurities(references: &[Reference], is_async: bool) -> impl Iterator<Item = String> {
    let effects = references.iter().filter(|to| !to.test).filter(|to| {
        let io = to.head == "std" && matches!(to.next.as_deref(), Some("fs" | "net" | "process"));
        (to.ours && (to.head == "clock" || to.head == "jitter"))
            || (!to.ours && (io || EFFECTS.contains(&to.head.as_str())))
    });
    let names = effects.map(|to| format!("pure code must not use {}", to.head)).collect::<Vec<_>>();
    names.into_iter().chain(is_async.then(|| "pure code must not be async".to_owned()))
}

#[test]
fn wrong_imports_are_seen() {
    let bad = [
        ("src/receiver/server.rs", "use crate::api::Webhook;"),
        ("src/receiver/server.rs", "use crate::operator::budget;"),
        ("src/receiver/server.rs", "use kube::Client;"),
        ("src/simulator/state.rs", "use crate::receiver::admit;"),
        ("src/simulator.rs", "use crate::route::Route;"),
        ("src/operator/webhook.rs", "fn f() { crate::simulator::run() }"),
        ("src/api/webhook.rs", "use crate::linktree::client::Linktree;"),
        ("src/linktree/wire.rs", "use crate::route::Route;"),
        ("src/linktree/wire.rs", "use crate::clock::now;"),
        ("src/clock.rs", "use crate::telemetry::init;"),
        ("src/admin.rs", "use crate::route::Route;"),
        ("src/serve.rs", "use crate::admin;"),
        ("src/helpers.rs", "use crate::clock;"),
        ("src/operator/webhook/decide.rs", "use crate::clock;"),
        ("src/operator/webhook/decide.rs", "use crate::jitter;"),
        ("src/operator/webhook/decide.rs", "async fn decide() {}"),
        ("src/operator/webhook/status/summary.rs", "use crate::clock;"),
        ("src/receiver/admit.rs", "use std::fs::read;"),
        ("src/receiver/admit.rs", "use tokio::sync::mpsc;"),
    ];
    for (file, text) in bad {
        assert_eq!(complaints(Path::new(file), text).len(), 1, "{file}: {text}");
    }
}

#[test]
fn right_imports_are_let_be() {
    let good = [
        ("src/receiver/status.rs", "use crate::clock; async fn status() {}"),
        ("src/receiver/server.rs", "use crate::{clock, route::Route, linktree::event}; use super::admit;"),
        ("src/api/webhook.rs", "use crate::linktree::event::EventType; use kube::CustomResource;"),
        ("src/admin.rs", "use crate::serve;"),
        ("src/linktree/client.rs", "use reqwest::Client; async fn get() {}"),
        ("src/operator/webhook/execute.rs", "use crate::{api, clock, linktree::client}; use kube::Api;"),
        ("src/receiver/admit.rs", "#[cfg(test)] mod tests { use crate::clock; use tokio::time; }"),
    ];
    for (file, text) in good {
        assert_none(&complaints(Path::new(file), text));
    }
}

#[test]
fn imports_point_downward_only() {
    let files = tree();
    let sources = files.iter().filter(|(path, _)| path.starts_with("src") && !path.starts_with("src/bin"));
    let rust = sources.filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"));
    let found: Vec<String> = rust.flat_map(|(path, text)| complaints(path, text)).collect();
    assert_none(&found);
}

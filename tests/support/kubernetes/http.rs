//! The API server's HTTP interface, for the requests that kube makes.

use bytes::Bytes;
use http::{Method, Request, Response, header::ACCEPT};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use linktree_operator::clock;
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use url::form_urlencoded;

use super::{
    Kubernetes, StatusError,
    kinds::{KINDS, Kind},
    store::{Key, Part, Store},
    stream::{self, Watch},
};

pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A request's path and query.
#[derive(Debug)]
pub struct Target {
    pub kind: &'static Kind,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub part: Part,
    query: HashMap<String, String>,
}

impl Target {
    pub fn parse(uri: &http::Uri) -> Option<Self> {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (plural, name, part) = match rest {
            [plural] => (*plural, None, Part::Main),
            [plural, name] => (*plural, Some((*name).to_owned()), Part::Main),
            [plural, name, "status"] => (*plural, Some((*name).to_owned()), Part::Status),
            _ => return None,
        };
        let kind = KINDS.iter().find(|it| (it.group, it.version, it.plural) == (group, version, plural))?;
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        Some(Target { kind, namespace, name, part, query })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub fn is_watch(&self) -> bool {
        matches!(self.parameter("watch"), Some("1" | "true"))
    }

    fn key(&self) -> Option<Key> {
        Some(Key { kind: self.kind, namespace: self.namespace.clone()?, name: self.name.clone()? })
    }
}

impl Kubernetes {
    /// Handles one request.
    pub fn answer(&self, request: &Request<Bytes>) -> Response<Body> {
        match self.try_answer(request) {
            Ok(answer) => answer,
            Err(error) => json_answer(error.code, &error.body()),
        }
    }

    fn try_answer(&self, request: &Request<Bytes>) -> Result<Response<Body>, StatusError> {
        let target = Target::parse(request.uri()).ok_or_else(StatusError::unknown_path)?;
        let accepts = request.headers().get(ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let metadata_only = accepts.contains("as=PartialObjectMetadata");
        if target.name.is_none() && request.method() == Method::GET {
            return Ok(if target.is_watch() {
                self.watch(&target, metadata_only)
            } else {
                self.list_answer(&target, metadata_only)
            });
        }
        let exists = target.key().is_some_and(|key| self.get(&key).is_some());
        let written = self.one(&target, request)?;
        let creates = matches!(*request.method(), Method::POST | Method::PATCH) && !exists;
        let code = if creates { 201 } else { 200 };
        Ok(json_answer(code, &written))
    }

    /// Handles a request about one object.
    fn one(&self, target: &Target, request: &Request<Bytes>) -> Result<Value, StatusError> {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        if *request.method() == Method::POST {
            let name = body["metadata"]["name"].as_str().ok_or_else(StatusError::unknown_path)?.to_owned();
            let key = Key {
                kind: target.kind,
                namespace: target.namespace.clone().ok_or_else(StatusError::unknown_path)?,
                name,
            };
            return self.write_for(target, |store, at| store.create(&key, body, at));
        }
        let key = target.key().ok_or_else(StatusError::unknown_path)?;
        let manager = target.parameter("fieldManager").unwrap_or("unknown");
        match request.method().as_str() {
            "GET" => self.get(&key).ok_or_else(|| StatusError::absent(&key)),
            "PUT" => self.write_for(target, |store, at| store.replace(&key, manager, &body, at)),
            "DELETE" => {
                let found = self.get(&key).ok_or_else(|| StatusError::absent(&key))?;
                let differs = |field| {
                    let expected = &body["preconditions"][field];
                    !expected.is_null() && *expected != found["metadata"][field]
                };
                if differs("uid") || differs("resourceVersion") {
                    return Err(StatusError::conflict(&key));
                }
                self.delete(&key)?;
                Ok(self.get(&key).unwrap_or_else(
                    || json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
                ))
            }
            "PATCH" => {
                let applies = request.headers()["content-type"].to_str().unwrap_or_default().contains("apply-patch");
                let force = target.parameter("force") == Some("true");
                self.write_for(target, |store, at| match applies {
                    true => store.apply(&key, target.part, (manager, force), body, at),
                    false => store.merge(&key, target.part, manager, &body, at),
                })
            }
            _ => Err(StatusError::unknown_path()),
        }
    }

    /// Writes to the store, or to a copy of it for a dry run.
    fn write_for(
        &self,
        target: &Target,
        act: impl FnOnce(&mut Store, jiff::Timestamp) -> Result<Value, StatusError>,
    ) -> Result<Value, StatusError> {
        match target.parameter("dryRun") {
            Some(_) => act(&mut self.store().without_log(), clock::now()),
            None => self.write(act),
        }
    }

    fn list_answer(&self, target: &Target, metadata_only: bool) -> Response<Body> {
        // Only a request that allows a cached list (resourceVersion=0) gets an old one.
        let age = if target.parameter("resourceVersion") == Some("0") { self.view().age() } else { Duration::ZERO };
        let (version, mut items) = {
            let store = self.store();
            let since = clock::now() - jiff::SignedDuration::try_from(age).unwrap();
            let version = if age.is_zero() {
                store.version()
            } else {
                store.log.iter().take_while(|change| change.at <= since).last().map_or(0, |change| change.version)
            };
            let all: Vec<Value> = if version == store.version() {
                store.all(target.kind, None).map(|(_, object)| object.clone()).collect()
            } else {
                store.past(target.kind, version)
            };
            (version, all)
        };
        items.retain(|item| is_selected(target, item));
        self.view().order(&mut items);
        let (api_version, kind) = if metadata_only {
            items.iter_mut().for_each(|item| *item = metadata_of(item));
            ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned())
        } else {
            (target.kind.api_version(), format!("{}List", target.kind.kind))
        };
        let list = json!({"apiVersion": api_version, "kind": kind, "metadata": {"resourceVersion": version.to_string()}, "items": items});
        json_answer(200, &list)
    }

    fn watch(&self, target: &Target, metadata_only: bool) -> Response<Body> {
        if self.view().is_gone() {
            return Response::new(stream::expired());
        }
        let since = target.parameter("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0);
        let timeout = target.parameter("timeoutSeconds").and_then(|it| it.parse().ok()).unwrap_or(290);
        let watch = Watch {
            kind: target.kind,
            namespace: target.namespace.clone(),
            labels: labels(target),
            since,
            metadata_only,
            bookmarks: target.parameter("allowWatchBookmarks") == Some("true"),
            timeout: Duration::from_secs(timeout),
        };
        Response::new(stream::body(self.clone(), watch))
    }
}

pub fn is_in(namespace: Option<&str>, labels: &[(String, String)], object: &Value) -> bool {
    let metadata = &object["metadata"];
    namespace.is_none_or(|namespace| metadata["namespace"] == namespace)
        && labels.iter().all(|(name, value)| metadata["labels"][name] == value.as_str())
}

fn is_selected(target: &Target, object: &Value) -> bool {
    is_in(target.namespace.as_deref(), &labels(target), object)
}

/// Parses a selector of the form `a=b,c=d`, the only form in use.
fn labels(target: &Target) -> Vec<(String, String)> {
    let selector = target.parameter("labelSelector").unwrap_or_default();
    selector
        .split(',')
        .filter_map(|term| term.split_once('='))
        .map(|(a, b)| (a.to_owned(), b.trim_start_matches('=').to_owned()))
        .collect()
}

pub fn metadata_of(object: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}

pub fn json_answer(code: u16, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = http::StatusCode::from_u16(code).unwrap();
    answer
}

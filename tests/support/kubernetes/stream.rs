//! Watch responses: the changes since a version as lines of JSON, until the timeout.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};

use super::{
    Change, Kubernetes, StatusError,
    http::{Body, is_in, metadata_of},
    kinds::Kind,
};

/// The parameters of a watch.
pub struct Watch {
    pub kind: &'static Kind,
    pub namespace: Option<String>,
    pub labels: Vec<(String, String)>,
    pub since: u64,
    pub metadata_only: bool,
    pub bookmarks: bool,
    pub timeout: Duration,
}

impl Watch {
    /// The watch event for a change, if it concerns this watch.
    fn line(&self, change: &Change) -> Option<String> {
        if change.key.kind != self.kind {
            return None;
        }
        let selected = |object: &&Value| is_in(self.namespace.as_deref(), &self.labels, object);
        let (before, after) = (change.before.as_ref().filter(selected), change.after.as_ref().filter(selected));
        let (of, object) = match (before, after) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after.clone()),
            (Some(_), Some(after)) => ("MODIFIED", after.clone()),
            (Some(before), None) => ("DELETED", at_version(before, change.version)),
        };
        let object = if self.metadata_only { metadata_of(&object) } else { object };
        Some(format!("{}\n", json!({"type": of, "object": object})))
    }

    fn bookmark(&self) -> String {
        let (api_version, kind) = match self.metadata_only {
            true => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata"),
            false => (self.kind.api_version(), self.kind.kind),
        };
        let metadata = json!({"resourceVersion": self.since.to_string(), "creationTimestamp": null});
        format!(
            "{}\n",
            json!({"type": "BOOKMARK", "object": {"apiVersion": api_version, "kind": kind, "metadata": metadata}})
        )
    }
}

fn at_version(object: &Value, version: u64) -> Value {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object
}

/// The body of a watch whose version is too old: one ERROR event.
pub fn expired() -> Body {
    let line = format!("{}\n", json!({"type": "ERROR", "object": StatusError::expired().body()}));
    Full::new(Bytes::from(line)).map_err(|never| match never {}).boxed_unsync()
}

/// The body of a watch response.
pub fn body(kubernetes: Kubernetes, watch: Watch) -> Body {
    let ends = tokio::time::Instant::now() + watch.timeout;
    let changes = kubernetes.changes();
    let lines = stream::unfold(
        (kubernetes, watch, changes, false),
        move |(kubernetes, mut watch, mut changes, over)| async move {
            if over {
                return None;
            }
            loop {
                changes.skip();
                let (version, lines) = kubernetes.read_log(|log| {
                    let from = log.partition_point(|change| change.version <= watch.since);
                    let lines: String = log[from..].iter().filter_map(|change| watch.line(change)).collect();
                    (log.last().map_or(0, |change| change.version), lines)
                });
                watch.since = version.max(watch.since);
                if !lines.is_empty() {
                    let late = kubernetes.view().lateness();
                    tokio::time::sleep(late).await;
                    return Some((lines, (kubernetes, watch, changes, false)));
                }
                if tokio::time::timeout_at(ends, changes.changed()).await.is_err() {
                    // A final bookmark, so that the next watch begins here.
                    let last = if watch.bookmarks { watch.bookmark() } else { String::new() };
                    return Some((last, (kubernetes, watch, changes, true)));
                }
            }
        },
    );
    let frames = futures::StreamExt::map(lines, |lines| Ok(Frame::data(Bytes::from(lines))));
    StreamBody::new(frames).boxed_unsync()
}

//! Publishes Kubernetes Events.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use kube::{
    Client, Resource,
    runtime::{
        events::{Event, EventType, Recorder, Reporter},
        reflector::ObjectRef,
    },
};

use super::field_manager::SOFTWARE;

/// The longest note in bytes that the API server accepts.
const NOTE_MAX: usize = 1024;
/// The end of a note that was longer.
const ELLIPSIS: &str = "…";
/// The number of Events that are remembered, so that a repetition becomes a series and not another Event.
const REMEMBERED_MAX: usize = 256;

/// Publisher of Kubernetes Events, with the operator as their reporting controller.
#[derive(Clone)]
pub struct Events {
    client: Client,
    recorders: Arc<Mutex<VecDeque<(Subject, Recorder)>>>,
}

/// The identity of an Event. kube's recorder ignores the note: it would count an Event about another subscription as a
/// repetition, and its note would never be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    uid: Option<String>,
    reason: String,
    note: String,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Events").finish_non_exhaustive()
    }
}

impl Events {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Events { client, recorders: Arc::default() }
    }

    /// Publishes an Event about an object's status change, and logs it. A note above 1,024 bytes is cut.
    ///
    /// A failure to publish is only logged: Events are best effort, and the status has the same information.
    pub async fn publish<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        note: String,
    ) {
        tracing::info!(object = %ObjectRef::from_obj(object), reason, "{note}");
        let note = cut(note);
        let reference = object.object_ref(&());
        let subject = Subject { uid: reference.uid.clone(), reason: reason.to_owned(), note: note.clone() };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let published = match self.recorder(&subject).publish(&event, &reference).await {
            // The Event that this one repeats has expired.
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                self.forget(&subject);
                self.recorder(&subject).publish(&event, &reference).await
            }
            published => published,
        };
        if let Err(error) = published {
            tracing::warn!(%error, reason, "publishing an Event failed");
        }
    }

    /// The recorder of an Event: the one that published it before, if it is remembered.
    fn recorder(&self, subject: &Subject) -> Recorder {
        let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = recorders.iter().find(|(known, _)| known == subject) {
            return known.clone();
        }
        if recorders.len() >= REMEMBERED_MAX {
            recorders.pop_front();
        }
        let reporter = Reporter { controller: SOFTWARE.into(), instance: None };
        let recorder = Recorder::new(self.client.clone(), reporter);
        recorders.push_back((subject.clone(), recorder.clone()));
        recorder
    }

    fn forget(&self, subject: &Subject) {
        self.recorders.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| known != subject);
    }
}

/// Cuts a note to the length that the API server accepts, at the end of a character.
fn cut(mut note: String) -> String {
    if note.len() > NOTE_MAX {
        let mut end = NOTE_MAX - ELLIPSIS.len();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str(ELLIPSIS);
    }
    note
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Bytes, http::Method, http::StatusCode, response::IntoResponse};
    use serde_json::{Value, json};

    use super::*;
    use crate::{api::connection::LinktreeConnection, operator::kubernetes::apply::status_write::tests::served};

    #[test]
    fn a_note_is_cut_to_what_the_api_server_accepts() {
        assert_eq!(cut("short".to_owned()), "short");
        assert_eq!(cut("a".repeat(NOTE_MAX)), "a".repeat(NOTE_MAX));
        for long in ["a".repeat(NOTE_MAX + 1), "é".repeat(NOTE_MAX), format!("a{}", "🦀".repeat(NOTE_MAX))] {
            let cut = cut(long.clone());
            assert!(cut.len() <= NOTE_MAX && cut.len() > NOTE_MAX - 8, "{}", cut.len());
            assert!(long.starts_with(cut.strip_suffix(ELLIPSIS).unwrap()));
        }
    }

    /// Publishes these notes in order to an API server that answers a patch with `patched`. Returns the method and note
    /// of each of its requests.
    async fn requests(notes: &[&str], patched: StatusCode) -> Vec<(Method, String)> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let respond = async move |method: Method, body: Bytes| {
            let event: Value = serde_json::from_slice(&body).unwrap();
            record.lock().unwrap().push((method.clone(), event["note"].as_str().unwrap().to_owned()));
            let status = if method == Method::PATCH { patched } else { StatusCode::CREATED };
            let failure = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(),
                "reason": "NotFound", "message": ""});
            (status, serde_json::to_vec(if status.is_success() { &event } else { &failure }).unwrap()).into_response()
        };
        let events = Events::new(served(Router::new().fallback(respond)).await);
        let connection: LinktreeConnection = serde_json::from_value(json!({
            "apiVersion": "webhooks.linktree-operator.dev/v1alpha1", "kind": "LinktreeConnection",
            "metadata": {"name": "brand", "namespace": "marketing", "uid": "1"},
            "spec": {"tokenSecretRef": {"name": "token"}},
        }))
        .unwrap();
        for note in notes {
            events.publish(&connection, EventType::Normal, "SubscriptionDeleted", (*note).to_owned()).await;
        }
        let seen = seen.lock().unwrap();
        seen.clone()
    }

    #[tokio::test]
    async fn only_the_same_note_is_a_repetition() {
        let (create, patch) = ((Method::POST, "a".to_owned()), (Method::PATCH, "a".to_owned()));
        let other = (Method::POST, "b".to_owned());
        assert_eq!(requests(&["a", "b", "a"], StatusCode::OK).await, [create.clone(), other, patch.clone()]);
        assert_eq!(requests(&["a", "a"], StatusCode::NOT_FOUND).await, [create.clone(), patch, create]);
    }

    #[tokio::test]
    async fn a_bounded_number_of_events_is_remembered() {
        let notes: Vec<String> = (0..=REMEMBERED_MAX).map(|number| number.to_string()).collect();
        let mut notes: Vec<&str> = notes.iter().map(String::as_str).collect();
        notes.push("0");
        let requests = requests(&notes, StatusCode::OK).await;
        assert!(requests.iter().all(|(method, _)| *method == Method::POST), "the oldest was forgotten");
    }
}

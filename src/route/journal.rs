//! What a receiver shows of its journal: the JSON of `GET /journal` and `GET /journal/POSITION` on the admin port, for
//! whoever has the admin token. Times are seconds since the epoch. What a sender wrote is data here: whoever prints it
//! escapes it.

use serde::{Deserialize, Serialize};

/// A page of entries, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Where the next page begins: `?after=` this. Absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// An event in the journal, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The order in which events came in; numbers are never given twice.
    pub position: i64,
    /// The delivery id; for a conflict, made unique by its body's digest.
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub sent_time: i64,
    pub received_time: i64,
    /// The name of the key that verified it.
    pub key: String,
    /// Its delivery id had come with another body before.
    pub conflict: bool,
    pub body_bytes: u64,
}

/// An entry with its body and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    #[serde(flatten)]
    pub entry: Entry,
    pub body: Body,
    pub sinks: Vec<SinkEntry>,
}

/// A body as it is kept, less what the route redacts now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    Text(String),
    /// What is no UTF-8.
    Hex(String),
}

/// What became of an event at one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkEntry {
    pub name: String,
    #[serde(flatten)]
    pub state: SinkState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
pub enum SinkState {
    /// Its turn has not come yet.
    Waiting,
    /// The sink has it, or does not want it, or came later.
    Done,
    /// It failed and is tried again.
    Retrying { attempts: u32, due_time: i64 },
    /// It was given up.
    DeadLetter { time: i64, failure: String },
}

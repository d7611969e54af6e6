//! The JSON of `GET /journal`, `GET /journal/POSITION` and `GET /dropped` on a receiver's admin port, which require the admin token.
//! Times are seconds since the epoch. Text from senders is not escaped: a client that prints it must escape it.

use serde::{Deserialize, Serialize};

/// A page of journal entries, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The value of `?after=` for the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// An event in the journal, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The event's number in order of arrival; numbers are never reused.
    pub position: i64,
    /// The delivery id; for a conflict, the digest of the body makes it unique.
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub sent_time: i64,
    pub received_time: i64,
    /// The name of the key that verified the delivery.
    pub key: String,
    /// Whether its delivery id had already been used with another body.
    pub conflict: bool,
    pub body_bytes: u64,
}

/// An entry with its body and its state at each sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    #[serde(flatten)]
    pub entry: Entry,
    pub body: Body,
    /// The sinks that have had the event: not those that were added after it arrived.
    pub sinks: Vec<SinkEntry>,
}

/// A stored body, without the fields that the current route redacts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    Text(String),
    /// A body that is not UTF-8, in hexadecimal.
    Hex(String),
}

/// A page of events that were given up, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedPage {
    pub dropped: Vec<DroppedEvent>,
    /// The value of `?after=` for the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// An event that a sink will not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedEvent {
    /// The number of this entry in the list.
    pub number: i64,
    pub position: i64,
    pub id: String,
    pub sink: String,
    pub time: i64,
    pub reason: DropReason,
}

/// Why an event was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DropReason {
    /// The journal was full, and the sink has the backlog policy DropOldest.
    JournalFull,
}

/// The state of an event at one sink.
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
    /// The event was not sent to this sink yet.
    Waiting,
    /// The sink has accepted the event, or does not want it.
    Done,
    /// The event failed `attempts` times at this sink and will be retried.
    Retrying { attempts: u32, due_time: i64 },
    /// The event is a dead letter of this sink and will not be retried.
    DeadLetter { time: i64, failure: String },
}

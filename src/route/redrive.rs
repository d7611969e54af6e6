//! The JSON of `POST /redrive` and `GET /redrive` on a receiver's admin port, which require the admin token: requests to
//! send stored events again. Times are seconds since the epoch.

use serde::{Deserialize, Serialize};

/// A request to send stored events to a sink again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedriveRequest {
    /// The name of this request: a second request with the same id has no effect, and the same answer.
    pub id: String,
    pub select: Selection,
    /// The sink to send to. Without it, dead letters are sent to their own sinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_sink: Option<String>,
    /// The largest number of events that become due in a second at each sink; the default is 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_second: Option<u32>,
}

/// The events to send again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Selection {
    /// The dead letters of a sink, which may have been removed; of every sink of the webhook without `sink`, or if it is
    /// `*`.
    DeadLetters {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sink: Option<String>,
    },
    Event(EventReference),
    /// The events received at or after `from_time` and before `to_time`.
    Received {
        from_time: i64,
        to_time: i64,
    },
}

/// One event in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventReference {
    Position(i64),
    DeliveryId(String),
}

/// The answer to a request that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedriveAnswer {
    /// How many events the request selects. Those that already wait for the sink are not sent twice.
    pub matched: u64,
}

/// The progress of an accepted request at one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedriveProgress {
    pub id: String,
    pub target_sink: String,
    pub matched: u64,
    /// How many events have been queued for the sink.
    pub queued: u64,
    pub complete: bool,
}

/// The latest requests, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redrives {
    pub redrives: Vec<RedriveProgress>,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, json, to_value};

    use super::*;

    #[test]
    fn requests_are_written_as_documented() {
        let dead = r#"{"id": "cms 7", "select": {"deadLetters": {"sink": "cms"}}, "targetSink": "cms-v2"}"#;
        let dead: RedriveRequest = from_str(dead).unwrap();
        assert_eq!(dead.select, Selection::DeadLetters { sink: Some("cms".into()) });
        assert_eq!((dead.target_sink.as_deref(), dead.max_per_second), (Some("cms-v2"), None));
        for (select, json) in [
            (Selection::DeadLetters { sink: None }, json!({"deadLetters": {}})),
            (Selection::Event(EventReference::Position(7)), json!({"event": {"position": 7}})),
            (Selection::Event(EventReference::DeliveryId("d".into())), json!({"event": {"deliveryId": "d"}})),
            (Selection::Received { from_time: 1, to_time: 2 }, json!({"received": {"fromTime": 1, "toTime": 2}})),
        ] {
            assert_eq!(to_value(&select).unwrap(), json);
            assert_eq!(from_str::<Selection>(&json.to_string()).unwrap(), select);
        }
        for bad in [r#"{"deadLetters": {"sinks": "a"}}"#, "{}", r#"{"event": {"position": 1, "deliveryId": "d"}}"#] {
            assert!(from_str::<Selection>(bad).is_err(), "{bad}");
        }
    }
}

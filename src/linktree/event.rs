//! The events that Linktree sends (the table in Linktree's documentation), and their envelope.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The type of an event. An unknown type is a value, not an error: Linktree may add types at any time, and a receiver
/// then warns and responds with 200.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    LinkCreated,
    LinkUpdated,
    LinkDeleted,
    ProfileUpdated,
    AnalyticsMilestone,
    /// A type that this version does not know.
    Unknown(String),
}

impl EventType {
    /// Every documented type, in the order of Linktree's documentation.
    pub const KNOWN: [EventType; 5] = [
        EventType::LinkCreated,
        EventType::LinkUpdated,
        EventType::LinkDeleted,
        EventType::ProfileUpdated,
        EventType::AnalyticsMilestone,
    ];

    /// The type with this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name.parse() {
            Ok(event_type) => event_type,
            Err(never) => match never {},
        }
    }

    /// The name on the wire, `link.created` and so on.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            EventType::LinkCreated => "link.created",
            EventType::LinkUpdated => "link.updated",
            EventType::LinkDeleted => "link.deleted",
            EventType::ProfileUpdated => "profile.updated",
            EventType::AnalyticsMilestone => "analytics.milestone",
            EventType::Unknown(name) => name,
        }
    }

    /// Whether Linktree documents this type.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, EventType::Unknown(_))
    }
}

impl FromStr for EventType {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(EventType::KNOWN
            .into_iter()
            .find(|known| known.as_str() == name)
            .unwrap_or_else(|| EventType::Unknown(name.to_owned())))
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EventType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(EventType::named(&String::deserialize(deserializer)?))
    }
}

/// The JSON body of a delivery: `{type, data, timestamp}`. Fields we do not know are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    #[serde(rename = "type")]
    pub event_type: EventType,
    #[serde(default)]
    pub data: serde_json::Value,
    /// Seconds since the epoch, or any other value: kept unchanged, since nothing depends on it.
    #[serde(default)]
    pub timestamp: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_type_survives_the_round_trip_and_an_unknown_one_is_kept() {
        for known in EventType::KNOWN {
            assert_eq!(known.as_str().parse(), Ok(known.clone()));
            assert!(known.is_known());
        }
        let unknown: EventType = "collection.created".parse().unwrap();
        assert_eq!(unknown, EventType::Unknown("collection.created".into()));
        assert_eq!(unknown.to_string(), "collection.created");
    }

    #[test]
    fn an_envelope_ignores_fields_it_does_not_know() {
        let envelope: Envelope =
            serde_json::from_str(r#"{"type":"link.created","data":{"link_id":"l1"},"timestamp":1,"more":[]}"#).unwrap();
        assert_eq!(envelope.event_type, EventType::LinkCreated);
        assert_eq!(envelope.data["link_id"], "l1");
    }
}

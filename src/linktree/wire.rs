//! The wire types of the management API. Only `POST /v1/webhooks` with its `{url, events}` and `{id}` is documented; the
//! rest is marked `Assumed:` and is also part of `docs/linktree-openapi.yaml`. The client reads responses field by field
//! (`client/fields.rs`): a resource may be bare or wrapped as `{data: …}`, and only documented fields are required.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{event::EventType, secret::Secret};

/// Linktree's id of a subscription, from the response to its registration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubscriptionId(pub String);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether Linktree delivers to a subscription. Assumed: both values, and that there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubscriptionStatus {
    Active,
    Disabled,
}

/// A subscription. Assumed: every field except `id`; therefore a response may lack every field except `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub id: SubscriptionId,
    #[serde(default)]
    pub url: String,
    #[serde(default)]
    pub events: Vec<EventType>,
    /// The state of the subscription; an unknown value is read as `None`, and nothing is inferred from it.
    #[serde(default, deserialize_with = "known_or_none", skip_serializing_if = "Option::is_none")]
    pub status: Option<SubscriptionStatus>,
    /// When it was registered, in seconds since the epoch, as every time of this API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// When the current run of failed deliveries began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// The signing secret, present only in the responses to a registration and to a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<Secret>,
}

/// The request body of `POST /v1/webhooks` (documented).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSubscription {
    pub url: String,
    pub events: Vec<EventType>,
}

/// The request body of `PATCH /v1/webhooks/{id}`. Assumed. Absent fields stay unchanged; `status: active` re-enables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateSubscription {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventType>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SubscriptionStatus>,
}

/// The response to `GET /v1/webhooks?cursor=&limit=`, one page. Assumed; a missing or empty `next_cursor` ends the
/// list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubscriptionPage {
    pub data: Vec<Subscription>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// The response to `POST /v1/webhooks/{id}/rotate-secret`. Assumed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotatedSecret {
    pub signing_secret: Secret,
}

/// The response to `GET /v1/me`. Its path is known, its fields are assumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub plan: Option<String>,
}

/// The body of an error response. Assumed; it is shown to users, and no decision depends on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ErrorBody {
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub message: String,
}

fn known_or_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SubscriptionStatus>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(deserializer)?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Subscription {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_unknown_status_is_ignored() {
        assert_eq!(read(r#"{"id":"a","status":"disabled"}"#).status, Some(SubscriptionStatus::Disabled));
        assert_eq!(read(r#"{"id":"a","status":"paused"}"#).status, None);
        assert_eq!(read(r#"{"id":"a","status":null}"#).status, None);
    }
}

//! The state of a receiver's journal in the webhook's status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How full the receiver's journal is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalStatus {
    /// Events in the journal.
    pub events: i64,
    /// Size of these events in bytes.
    pub bytes: i64,
    /// The limit in bytes: the lesser of receiver.journal.capacity and the room on the volume.
    pub capacity_bytes: i64,
    /// Present while undelivered events will fill the journal within a week, or fill more than three quarters of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<JournalForecast>,
}

/// When the journal will be full. DeliveryAtRisk has the reason BacklogFillsJournal meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalForecast {
    /// When this forecast was made. It is replaced at the earliest ten minutes later.
    pub time: Time,
    /// When the journal will be full if undelivered events keep growing at the same rate; absent if they do not grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_time: Option<Time>,
    /// The sink with the most undelivered events. It may be a sink that the spec no longer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
}

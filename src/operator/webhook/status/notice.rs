//! A Kubernetes Event to publish on a webhook.

use kube::runtime::events::EventType;

/// A Kubernetes Event to publish on the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub event_type: EventType,
    pub reason: &'static str,
    pub note: String,
}

/// A notice of a problem.
pub(super) fn warning(reason: &'static str, note: String) -> Notice {
    Notice { event_type: EventType::Warning, reason, note }
}

/// A notice of a change that is no problem.
pub fn normal(reason: &'static str, note: String) -> Notice {
    Notice { event_type: EventType::Normal, reason, note }
}

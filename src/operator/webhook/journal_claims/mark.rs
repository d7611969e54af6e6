//! The mark on a journal's claim whose webhook is gone. Pure.

use std::time::Duration;

use jiff::Timestamp;
use kube::core::ObjectMeta;
use serde_json::{Value, json};

use crate::operator::kubernetes::annotations::{UNUSED_SECONDS, UNUSED_SINCE};

/// The mark of a claim without a webhook.
///
/// It has the time that has been counted, since a difference of wall-clock times is wrong after a clock was set, and a
/// later process cannot know that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The time at which the operator noticed that the webhook is gone. For the user only.
    pub since: Timestamp,
    /// The time for which the operator has watched the claim since then.
    pub unused: Duration,
}

impl Mark {
    /// The mark of a claim, if it has one that can be read.
    #[must_use]
    pub fn of(claim: &ObjectMeta) -> Option<Self> {
        let annotation = |name: &str| claim.annotations.as_ref()?.get(name);
        let since = annotation(UNUSED_SINCE)?.parse().ok()?;
        let unused = annotation(UNUSED_SECONDS).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        Some(Mark { since, unused: unused.unwrap_or_default() })
    }

    /// The annotations of a claim with this mark.
    #[must_use]
    pub fn annotations(&self) -> Value {
        json!({UNUSED_SINCE: self.since.to_string(), UNUSED_SECONDS: self.unused.as_secs().to_string()})
    }

    /// The merge patch of the annotations that removes a mark.
    #[must_use]
    pub fn removed() -> Value {
        json!({UNUSED_SINCE: null, UNUSED_SECONDS: null})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(annotations: &Value) -> ObjectMeta {
        serde_json::from_value(json!({"annotations": annotations})).unwrap()
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let since = Timestamp::from_second(1_800_000_000).unwrap();
        let mark = Mark { since, unused: Duration::from_secs(300) };
        assert_eq!(Mark::of(&with(&mark.annotations())), Some(mark));
        assert_eq!(Mark::of(&ObjectMeta::default()), None);
        // An odd value never shortens the time.
        for seconds in [json!("-5"), json!("an hour"), json!("1e9"), json!("")] {
            let odd = with(&json!({UNUSED_SINCE: since.to_string(), UNUSED_SECONDS: seconds}));
            assert_eq!(Mark::of(&odd), Some(Mark { since, unused: Duration::ZERO }), "{seconds}");
        }
        assert_eq!(Mark::of(&with(&json!({UNUSED_SINCE: "yesterday", UNUSED_SECONDS: "3600"}))), None);
        assert_eq!(Mark::of(&with(&json!({UNUSED_SECONDS: "3600"}))), None);
    }
}

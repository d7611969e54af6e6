//! Injected faults of the API and of deliveries. A fault applies to the next `times` calls, or until cleared.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::rejection::Rejection;
use crate::linktree::wire::SubscriptionId;

/// Maximum number of faults of each sort, API or deliveries, that can be set at once.
const FAULTS_MAX: usize = 100;
/// The longest delay that a fault may have, so that a forgotten fault does not keep connections open for ever.
pub const DELAY_MAX_MS: u64 = 120_000;
/// Maximum number of copies of one delivery that are sent at once.
const COPIES_MAX: u32 = 64;

/// A fault of an API call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ApiFault {
    /// Responds with this status; the call has no effect.
    Status { status: u16, retry_after: Option<String> },
    /// The call takes effect at once, but its response is late.
    Delay { milliseconds: u64 },
    /// Closes the connection; the call has no effect.
    DropBefore,
    /// Closes the connection after the call took effect.
    DropAfter,
    /// The call takes effect, but only half of the response is sent.
    Truncate,
    /// Responds with 200 and an HTML page; the call has no effect.
    Html,
}

impl ApiFault {
    /// The fault's name in the call log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            ApiFault::Status { .. } => "status",
            ApiFault::Delay { .. } => "delay",
            ApiFault::DropBefore => "drop-before",
            ApiFault::DropAfter => "drop-after",
            ApiFault::Truncate => "truncate",
            ApiFault::Html => "html",
        }
    }
}

/// A fault of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum DeliveryFault {
    /// The delivery is not sent; the sender sees this status.
    Status { status: u16 },
    /// The delivery is sent after a delay.
    Delay { milliseconds: u64 },
    /// The delivery is not sent; the sender sees a broken connection.
    Drop,
    /// The delivery is sent, but the response is lost, which is the cause of most real duplicates.
    LostAnswer,
    /// The delivery is sent twice under one id.
    Duplicate,
    /// The delivery is sent this number of times at once, under one id.
    ConcurrentDuplicates { copies: u32 },
    /// The body is changed after signing.
    Tamper,
    /// The delivery is sent, and then again under a new id, as an attacker with a captured request might do.
    Replay,
    /// The delivery is sent without signature and timestamp.
    Unsigned,
}

/// A fault of the API, and the calls that it applies to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ApiRule {
    /// The HTTP method of the calls; any method if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// The path of the calls, in which `*` matches anything; any path if absent.
    #[serde(default)]
    pub path: Option<String>,
    /// The id of the account whose token the calls use; any account if absent.
    #[serde(default)]
    pub account: Option<String>,
    /// The number of calls that the fault applies to; if absent, it applies until it is cleared.
    #[serde(default)]
    pub times: Option<u32>,
    #[serde(flatten)]
    pub fault: ApiFault,
}

/// A fault of deliveries, and the deliveries that it applies to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DeliveryRule {
    /// The subscription whose deliveries it applies to; any subscription if absent.
    #[serde(default)]
    pub subscription: Option<SubscriptionId>,
    #[serde(default)]
    pub times: Option<u32>,
    #[serde(flatten)]
    pub fault: DeliveryFault,
}

#[derive(Debug, Default)]
pub struct Faults {
    pub api: Vec<ApiRule>,
    pub deliveries: Vec<DeliveryRule>,
}

impl Faults {
    /// # Errors
    /// [`Rejection::Unprocessable`] for an invalid status, too long a delay, or too many faults.
    pub fn add_api(&mut self, rule: ApiRule) -> Result<(), Rejection> {
        match rule.fault {
            ApiFault::Status { status, .. } => check_status(status)?,
            ApiFault::Delay { milliseconds } => check_delay(milliseconds)?,
            ApiFault::DropBefore | ApiFault::DropAfter | ApiFault::Truncate | ApiFault::Html => {}
        }
        push_bounded(&mut self.api, rule)
    }

    /// # Errors
    /// As [`Faults::add_api`].
    pub fn add_delivery(&mut self, rule: DeliveryRule) -> Result<(), Rejection> {
        match rule.fault {
            DeliveryFault::Status { status } => check_status(status)?,
            DeliveryFault::Delay { milliseconds } => check_delay(milliseconds)?,
            DeliveryFault::ConcurrentDuplicates { copies } => check_copies(copies)?,
            DeliveryFault::Drop
            | DeliveryFault::LostAnswer
            | DeliveryFault::Duplicate
            | DeliveryFault::Tamper
            | DeliveryFault::Replay
            | DeliveryFault::Unsigned => {}
        }
        push_bounded(&mut self.deliveries, rule)
    }

    /// Uses the oldest fault that matches this API call, and removes it if that was its last use.
    pub fn take_api(&mut self, method: &str, path: &str, account: Option<&str>) -> Option<ApiFault> {
        let matches = |rule: &ApiRule| {
            rule.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && rule.path.as_ref().is_none_or(|pattern| matches_pattern(pattern, path))
                && rule.account.as_ref().is_none_or(|wanted| account == Some(wanted))
        };
        let position = self.api.iter().position(matches)?;
        let fault = self.api[position].fault.clone();
        if used_up(&mut self.api[position].times) {
            self.api.remove(position);
        }
        Some(fault)
    }

    /// Uses the oldest fault that matches a delivery to this subscription, and removes it if that was its last use.
    pub fn take_delivery(&mut self, subscription: &SubscriptionId) -> Option<DeliveryFault> {
        let matches = |rule: &DeliveryRule| rule.subscription.as_ref().is_none_or(|wanted| wanted == subscription);
        let position = self.deliveries.iter().position(matches)?;
        let fault = self.deliveries[position].fault.clone();
        if used_up(&mut self.deliveries[position].times) {
            self.deliveries.remove(position);
        }
        Some(fault)
    }
}

fn push_bounded<T>(rules: &mut Vec<T>, rule: T) -> Result<(), Rejection> {
    if rules.len() >= FAULTS_MAX {
        return Err(Rejection::Unprocessable("too many faults".to_owned()));
    }
    rules.push(rule);
    Ok(())
}

/// Counts one use of a fault; returns whether it was the last.
fn used_up(times: &mut Option<u32>) -> bool {
    times.as_mut().is_some_and(|left| {
        *left = left.saturating_sub(1);
        *left == 0
    })
}

/// Rejects a status below 200, because it is not a final response.
fn check_status(status: u16) -> Result<(), Rejection> {
    match StatusCode::from_u16(status) {
        Ok(status) if !status.is_informational() => Ok(()),
        Ok(_) | Err(_) => Err(Rejection::Unprocessable(format!("{status} is not a status of a final response"))),
    }
}

fn check_delay(milliseconds: u64) -> Result<(), Rejection> {
    if milliseconds > DELAY_MAX_MS {
        return Err(Rejection::Unprocessable(format!("a delay is at most {DELAY_MAX_MS} ms")));
    }
    Ok(())
}

fn check_copies(copies: u32) -> Result<(), Rejection> {
    if !(2..=COPIES_MAX).contains(&copies) {
        return Err(Rejection::Unprocessable(format!("copies: between 2 and {COPIES_MAX}")));
    }
    Ok(())
}

/// Whether `text` matches `pattern`, in which each `*` matches any text, also none.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api_rule(json: &str) -> ApiRule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_fault_applies_to_its_number_of_matching_calls() {
        let mut faults = Faults::default();
        faults.add_api(api_rule(r#"{"kind":"drop-after","method":"post","path":"/v1/webhooks","times":2}"#)).unwrap();
        faults.add_api(api_rule(r#"{"kind":"status","status":503,"path":"/v1/webhooks*"}"#)).unwrap();
        let mut take = |method, path| faults.take_api(method, path, None).map(|fault| fault.name());
        assert_eq!(take("GET", "/v1/me"), None);
        assert_eq!(take("GET", "/v1/webhooks/1"), Some("status"));
        assert_eq!(take("POST", "/v1/webhooks"), Some("drop-after"));
        assert_eq!(take("POST", "/v1/webhooks"), Some("drop-after"));
        assert_eq!(take("POST", "/v1/webhooks"), Some("status"), "the first one is used up");
        assert_eq!(take("POST", "/v1/webhooks"), Some("status"), "this one stays until cleared");
    }

    #[test]
    fn an_api_fault_can_apply_to_one_account() {
        let mut faults = Faults::default();
        faults.add_api(api_rule(r#"{"kind":"drop-before","account":"acc_1"}"#)).unwrap();
        for (account, hit) in [(None, false), (Some("acc_2"), false), (Some("acc_1"), true)] {
            assert_eq!(faults.take_api("GET", "/v1/webhooks", account).is_some(), hit, "{account:?}");
        }
    }

    #[test]
    fn a_delivery_fault_can_apply_to_one_subscription() {
        let mut faults = Faults::default();
        let rule = r#"{"kind":"lost-answer","subscription":"wh_1","times":1}"#;
        faults.add_delivery(serde_json::from_str(rule).unwrap()).unwrap();
        assert_eq!(faults.take_delivery(&SubscriptionId("wh_2".into())), None);
        assert_eq!(faults.take_delivery(&SubscriptionId("wh_1".into())), Some(DeliveryFault::LostAnswer));
        assert_eq!(faults.take_delivery(&SubscriptionId("wh_1".into())), None);
    }

    #[test]
    fn an_invalid_fault_is_rejected() {
        let mut faults = Faults::default();
        for bad in [
            r#"{"kind":"status","status":100}"#,
            r#"{"kind":"status","status":7}"#,
            r#"{"kind":"delay","milliseconds":999999}"#,
        ] {
            assert!(faults.add_api(api_rule(bad)).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<ApiRule>(r#"{"kind":"explode"}"#).is_err());
        for (copies, is_valid) in [(1, false), (2, true), (64, true), (65, false)] {
            let rule = format!(r#"{{"kind":"concurrent-duplicates","copies":{copies}}}"#);
            assert_eq!(faults.add_delivery(serde_json::from_str(&rule).unwrap()).is_ok(), is_valid, "{copies}");
        }
    }

    #[test]
    fn stars_match_any_text() {
        for (pattern, text, expected) in [
            ("/v1/webhooks", "/v1/webhooks", true),
            ("/v1/webhooks", "/v1/webhooks/1", false),
            ("/v1/webhooks/*", "/v1/webhooks/1", true),
            ("/v1/webhooks/*", "/v1/webhooks", false),
            ("*/rotate-secret", "/v1/webhooks/1/rotate-secret", true),
            ("/v1/*/1/*", "/v1/webhooks/1/rotate-secret", true),
            ("*", "", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }
}

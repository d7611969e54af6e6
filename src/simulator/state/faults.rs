//! Misbehaviour on request: of the API, and of deliveries. A fault holds for the next `times` calls, or until cleared.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::linktree::wire::SubscriptionId;

/// Faults that may be set at once, of each sort.
const FAULTS_MAX: usize = 100;
/// The longest delay, so that a forgotten fault does not hold connections for ever.
pub const DELAY_MAX_MS: u64 = 120_000;

/// How the API misbehaves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ApiFault {
    /// Answers this status; the call has no effect.
    Status { status: u16, retry_after: Option<String> },
    /// The call takes effect at once, but its answer comes late.
    Delay { milliseconds: u64 },
    /// Closes the connection; the call has no effect.
    DropBefore,
    /// Closes the connection after the call took effect.
    DropAfter,
    /// The call takes effect, but only half of the answer arrives.
    Truncate,
    /// Answers 200 with an HTML page; the call has no effect.
    Html,
}

impl ApiFault {
    /// For the call log.
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

/// How a delivery goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum DeliveryFault {
    /// Is not sent; the sender sees this status.
    Status { status: u16 },
    /// Is sent only after a delay.
    Delay { milliseconds: u64 },
    /// Is not sent; the sender sees a broken connection.
    Drop,
    /// Is sent, but the sender does not see the answer: the true cause of most duplicates.
    LostAnswer,
    /// Is sent twice, under one id.
    Duplicate,
    /// The body is changed after it was signed.
    Tamper,
    /// Is sent, and then again under a fresh id, as somebody might who had captured it.
    Replay,
    /// Is sent without signature and timestamp.
    Unsigned,
}

/// A fault, to whom it happens and how often.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ApiRule {
    /// Any method if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// A path; `*` stands for anything. Any path if absent.
    #[serde(default)]
    pub path: Option<String>,
    /// The account whose token the call has. Anybody's if absent.
    #[serde(default)]
    pub account: Option<String>,
    /// How many calls; until cleared if absent.
    #[serde(default)]
    pub times: Option<u32>,
    #[serde(flatten)]
    pub fault: ApiFault,
}

/// As [`ApiRule`], for deliveries.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DeliveryRule {
    /// Any subscription if absent.
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
    /// [`Refusal::Unprocessable`] when it is no status, too long a delay, or one too many.
    pub fn add_api(&mut self, rule: ApiRule) -> Result<(), Refusal> {
        match rule.fault {
            ApiFault::Status { status, .. } => check_status(status)?,
            ApiFault::Delay { milliseconds } => check_delay(milliseconds)?,
            ApiFault::DropBefore | ApiFault::DropAfter | ApiFault::Truncate | ApiFault::Html => {}
        }
        push_bounded(&mut self.api, rule)
    }

    /// # Errors
    /// As [`Faults::add_api`].
    pub fn add_delivery(&mut self, rule: DeliveryRule) -> Result<(), Refusal> {
        match rule.fault {
            DeliveryFault::Status { status } => check_status(status)?,
            DeliveryFault::Delay { milliseconds } => check_delay(milliseconds)?,
            DeliveryFault::Drop
            | DeliveryFault::LostAnswer
            | DeliveryFault::Duplicate
            | DeliveryFault::Tamper
            | DeliveryFault::Replay
            | DeliveryFault::Unsigned => {}
        }
        push_bounded(&mut self.deliveries, rule)
    }

    /// The fault for this call, the oldest that fits.
    pub fn take_api(&mut self, method: &str, path: &str, account: Option<&str>) -> Option<ApiFault> {
        let fits = |rule: &ApiRule| {
            rule.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && rule.path.as_ref().is_none_or(|pattern| matches_pattern(pattern, path))
                && rule.account.as_ref().is_none_or(|wanted| account == Some(wanted))
        };
        let position = self.api.iter().position(fits)?;
        let fault = self.api[position].fault.clone();
        if used_up(&mut self.api[position].times) {
            self.api.remove(position);
        }
        Some(fault)
    }

    /// The fault for a delivery to this subscription, the oldest that fits.
    pub fn take_delivery(&mut self, subscription: &SubscriptionId) -> Option<DeliveryFault> {
        let fits = |rule: &DeliveryRule| rule.subscription.as_ref().is_none_or(|wanted| wanted == subscription);
        let position = self.deliveries.iter().position(fits)?;
        let fault = self.deliveries[position].fault.clone();
        if used_up(&mut self.deliveries[position].times) {
            self.deliveries.remove(position);
        }
        Some(fault)
    }
}

fn push_bounded<T>(rules: &mut Vec<T>, rule: T) -> Result<(), Refusal> {
    if rules.len() >= FAULTS_MAX {
        return Err(Refusal::Unprocessable("too many faults".to_owned()));
    }
    rules.push(rule);
    Ok(())
}

/// Counts one use and says whether it was the last.
fn used_up(times: &mut Option<u32>) -> bool {
    times.as_mut().is_some_and(|left| {
        *left = left.saturating_sub(1);
        *left == 0
    })
}

/// Informational statuses are not answers, so a fault cannot be one.
fn check_status(status: u16) -> Result<(), Refusal> {
    match StatusCode::from_u16(status) {
        Ok(status) if !status.is_informational() => Ok(()),
        Ok(_) | Err(_) => Err(Refusal::Unprocessable(format!("{status} is no status of an answer"))),
    }
}

fn check_delay(milliseconds: u64) -> Result<(), Refusal> {
    if milliseconds > DELAY_MAX_MS {
        return Err(Refusal::Unprocessable(format!("a delay is at most {DELAY_MAX_MS} ms")));
    }
    Ok(())
}

/// Whether `text` is `pattern`, in which each `*` stands for anything, also nothing.
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
    fn a_fault_holds_for_as_many_calls_as_it_says_and_only_for_those_that_fit() {
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
    fn an_api_fault_can_be_meant_for_one_account() {
        let mut faults = Faults::default();
        faults.add_api(api_rule(r#"{"kind":"drop-before","account":"acc_1"}"#)).unwrap();
        for (account, hit) in [(None, false), (Some("acc_2"), false), (Some("acc_1"), true)] {
            assert_eq!(faults.take_api("GET", "/v1/webhooks", account).is_some(), hit, "{account:?}");
        }
    }

    #[test]
    fn a_delivery_fault_can_be_meant_for_one_subscription() {
        let mut faults = Faults::default();
        let rule = r#"{"kind":"lost-answer","subscription":"wh_1","times":1}"#;
        faults.add_delivery(serde_json::from_str(rule).unwrap()).unwrap();
        assert_eq!(faults.take_delivery(&SubscriptionId("wh_2".into())), None);
        assert_eq!(faults.take_delivery(&SubscriptionId("wh_1".into())), Some(DeliveryFault::LostAnswer));
        assert_eq!(faults.take_delivery(&SubscriptionId("wh_1".into())), None);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let mut faults = Faults::default();
        for bad in [
            r#"{"kind":"status","status":100}"#,
            r#"{"kind":"status","status":7}"#,
            r#"{"kind":"delay","milliseconds":999999}"#,
        ] {
            assert!(faults.add_api(api_rule(bad)).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<ApiRule>(r#"{"kind":"explode"}"#).is_err());
    }

    #[test]
    fn stars_stand_for_anything() {
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

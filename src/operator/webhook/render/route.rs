//! Renders the receiver's route from the spec and the Secret values that it refers to. Pure.

use jiff::Timestamp;
use url::Url;

use crate::{
    api::{SecretKeyReference, webhook::Pause},
    linktree::secret::Secret,
    operator::webhook::{
        addressable::Addresses,
        observed::{self, Secrets, Unresolved},
        spec::{
            self, Keys, PREVIOUS_SECRET_KEY, SIGNING_SECRET_KEY, Spec,
            sink::{Address, web_address},
        },
    },
    route::{
        Forwarding, Key, Route, Sink, SinkUrl, VERSION,
        credentials::{self, SigningKey},
    },
};

/// The name of the signing key from Linktree's API, in the route and the status.
pub const PROVIDER_KEY: &str = "provider";
/// The name of the previous signing key from Linktree's API.
const PREVIOUS_PROVIDER_KEY: &str = "provider-previous";

/// The receiver's desired route. It omits missing and expired signing keys. A sink with an unresolved reference has no
/// URL, so its events wait in the journal.
#[must_use]
pub fn route(spec: &Spec, secrets: &Secrets, addresses: &Addresses, now: Timestamp) -> Route {
    Route {
        version: VERSION,
        webhook: spec.name.clone(),
        path: spec.url.path().to_owned(),
        admin_token: secrets.admin_token.clone(),
        probe_key: secrets.probe_key.clone(),
        keys: candidates(&spec.keys, secrets.previous_not_after)
            .into_iter()
            .filter(|key| key.is_valid(now))
            .filter_map(|key| Some(Key { secret: secrets.values.get(&key.reference)?.clone(), name: key.name }))
            .collect(),
        timestamp_tolerance_seconds: spec.timestamp_tolerance_seconds,
        stale_delivery_policy: spec.stale_delivery_policy,
        deduplication_window_seconds: spec.deduplication_window_seconds,
        retention_seconds: spec.journal.retention_seconds,
        dead_letter_retention_seconds: spec.journal.dead_letter_retention_seconds,
        capacity_bytes: spec.journal.capacity_bytes,
        max_body_bytes: spec.max_body_bytes,
        redact_fields: spec.redact_fields.clone(),
        sinks: spec.sinks.iter().map(|spec| sink(spec, secrets, addresses)).collect(),
        forwarding: match spec.pause {
            Pause::None | Pause::Reconciliation => Forwarding::On,
            Pause::Forwarding => Forwarding::Paused,
        },
    }
}

/// The sinks that have no URL in the route, and why.
#[must_use]
pub fn unresolved(spec: &Spec, secrets: &Secrets, addresses: &Addresses) -> Vec<Unresolved> {
    let unresolved = |sink: &spec::Sink| {
        let problem = url(sink, secrets, addresses).err()?;
        Some(Unresolved { sink: sink.name.clone(), problem })
    };
    spec.sinks.iter().filter_map(unresolved).collect()
}

/// The URL of a sink, or the first problem: a missing object or Secret key, or an invalid URL.
fn url(sink: &spec::Sink, secrets: &Secrets, addresses: &Addresses) -> Result<Url, String> {
    for reference in sink.secrets() {
        if !secrets.values.contains_key(reference) {
            return Err(format!("put a value into Secret {}, key {}", reference.name, reference.key));
        }
    }
    unusable(&sink.auth, secrets, |token| credentials::authorization(token).err())?;
    unusable(&sink.signing, secrets, |secret| SigningKey::parse(secret).err())?;
    match &sink.address {
        Address::Url(url) => Ok(url.clone()),
        Address::Secret(reference) => {
            let url = secrets.values.get(reference).and_then(|value| web_address(value.expose()));
            let SecretKeyReference { name, key } = reference;
            url.ok_or_else(|| format!("Secret {name}, key {key} is not an http:// or https:// URL"))
        }
        Address::Addressable(reference) => {
            addresses.get(reference).cloned().unwrap_or_else(|| Err("its address was not resolved".to_owned()))
        }
    }
}

/// Fails if `problem` finds one in the value of `reference`.
fn unusable(
    reference: &Option<SecretKeyReference>,
    secrets: &Secrets,
    problem: impl Fn(&Secret) -> Option<&'static str>,
) -> Result<(), String> {
    let Some(reference) = reference else { return Ok(()) };
    let problem = secrets.values.get(reference).and_then(problem);
    problem.map_or(Ok(()), |problem| Err(format!("Secret {}, key {} {problem}", reference.name, reference.key)))
}

fn sink(sink: &spec::Sink, secrets: &Secrets, addresses: &Addresses) -> Sink {
    let value = |reference: &Option<SecretKeyReference>| secrets.values.get(reference.as_ref()?).cloned();
    let spec::Sink {
        name,
        address: _,
        auth,
        signing,
        events,
        filter,
        success_condition,
        format,
        ordering,
        timeout_seconds,
        retry,
        backlog_policy,
    } = sink;
    Sink {
        name: name.clone(),
        url: url(sink, secrets, addresses).ok().map(SinkUrl::new),
        filter: filter.clone(),
        success_condition: success_condition.clone(),
        bearer: value(auth),
        signing_secret: value(signing),
        events: events.clone(),
        format: format.clone(),
        ordering: *ordering,
        timeout_seconds: *timeout_seconds,
        retry: *retry,
        backlog_policy: *backlog_policy,
    }
}

/// The state of the signing keys that the spec refers to.
#[must_use]
pub fn keys(spec: &Spec, secrets: &Secrets, now: Timestamp) -> observed::Keys {
    let candidates = candidates(&spec.keys, secrets.previous_not_after);
    let (valid, expired): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|key| key.is_valid(now));
    let Some((active, others)) = valid.split_first() else { return observed::Keys::Expired };
    let is_missing = |reference: &SecretKeyReference| !secrets.values.contains_key(reference);
    if is_missing(&active.reference) {
        return match spec.keys {
            Keys::Provider { .. } => observed::Keys::ProviderMissing(active.reference.clone()),
            Keys::Named(_) => observed::Keys::CurrentMissing(active.reference.clone()),
        };
    }
    let (missing, expired) = match spec.keys {
        // The previous secret exists only for a while after a rotation: its absence is not reported.
        Keys::Provider { .. } => (Vec::new(), Vec::new()),
        Keys::Named(_) => (
            others.iter().map(|key| key.reference.clone()).filter(is_missing).collect(),
            expired.into_iter().map(|key| key.name).collect(),
        ),
    };
    observed::Keys::Found { active: active.name.clone(), missing, expired }
}

/// When the next existing signing key expires; it must be removed from the route then.
#[must_use]
pub fn next_key_end(spec: &Spec, secrets: &Secrets, now: Timestamp) -> Option<Timestamp> {
    let candidates = candidates(&spec.keys, secrets.previous_not_after).into_iter();
    candidates
        .filter(|key| secrets.values.contains_key(&key.reference))
        .filter_map(|key| key.not_after)
        .filter(|at| *at > now)
        .min()
}

/// The Secret keys that a webhook's route is rendered from.
#[must_use]
pub fn places(spec: &Spec) -> Vec<SecretKeyReference> {
    let sinks = spec.sinks.iter().flat_map(|sink| sink.secrets().cloned());
    candidates(&spec.keys, None).into_iter().map(|key| key.reference).chain(sinks).collect()
}

/// A signing key that the spec refers to; its value may be missing, or it may have expired.
struct Candidate {
    name: String,
    reference: SecretKeyReference,
    not_after: Option<Timestamp>,
}

impl Candidate {
    fn is_valid(&self, now: Timestamp) -> bool {
        self.not_after.is_none_or(|end| now < end)
    }
}

/// The signing keys that the spec refers to, the current one first.
fn candidates(keys: &Keys, previous_not_after: Option<Timestamp>) -> Vec<Candidate> {
    match keys {
        Keys::Provider { secret_name } => {
            let candidate = |name: &str, key: &str, not_after| Candidate {
                name: name.to_owned(),
                reference: SecretKeyReference { name: secret_name.clone(), key: key.to_owned() },
                not_after,
            };
            vec![
                candidate(PROVIDER_KEY, SIGNING_SECRET_KEY, None),
                candidate(PREVIOUS_PROVIDER_KEY, PREVIOUS_SECRET_KEY, previous_not_after),
            ]
        }
        Keys::Named(keys) => keys
            .iter()
            .map(|key| Candidate { name: key.name.clone(), reference: key.secret.clone(), not_after: key.not_after })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn secrets(values: &[(&str, &str, &str)]) -> Secrets {
        let reference = |name: &str, key: &str| SecretKeyReference { name: name.into(), key: key.into() };
        Secrets {
            values: values.iter().map(|(name, key, value)| (reference(name, key), Secret::new(*value))).collect(),
            kept_for: None,
            previous_not_after: None,
            admin_token: Secret::new("admin"),
            probe_key: Secret::new("probe"),
        }
    }

    fn names(route: &Route) -> Vec<&str> {
        route.keys.iter().map(|key| key.name.as_str()).collect()
    }

    #[test]
    fn the_current_secret_from_linktree_comes_before_the_previous_one() {
        let spec = Spec::parse(&webhook(|_| {})).unwrap();
        assert!(matches!(keys(&spec, &secrets(&[]), NOW), observed::Keys::ProviderMissing(_)));
        let one = secrets(&[("links-signing", "secret", "s")]);
        assert_eq!(names(&route(&spec, &one, &Addresses::new(), NOW)), ["provider"]);
        let both = secrets(&[("links-signing", "previous", "p"), ("links-signing", "secret", "s")]);
        assert_eq!(names(&route(&spec, &both, &Addresses::new(), NOW)), ["provider", "provider-previous"]);
    }

    #[test]
    fn named_keys_have_the_order_of_the_spec_and_a_missing_one_is_reported() {
        let spec = Spec::parse(&webhook(|object| {
            let key = |name: &str| json!({"name": name, "secretRef": {"name": "keys", "key": name}});
            object["spec"]["signing"] = json!({"keys": [key("k2"), key("k1")]});
        }));
        let spec = spec.unwrap();
        let both = secrets(&[("keys", "k1", "a"), ("keys", "k2", "b")]);
        assert_eq!(names(&route(&spec, &both, &Addresses::new(), NOW)), ["k2", "k1"]);
        let new_only = secrets(&[("keys", "k2", "b")]);
        let reference = SecretKeyReference { name: "keys".into(), key: "k1".into() };
        assert_eq!(
            keys(&spec, &new_only, NOW),
            observed::Keys::Found { active: "k2".into(), missing: vec![reference], expired: vec![] }
        );
        assert!(matches!(keys(&spec, &secrets(&[("keys", "k1", "a")]), NOW), observed::Keys::CurrentMissing(_)));
    }

    #[test]
    fn a_key_is_in_the_route_until_it_expires() {
        let spec = Spec::parse(&webhook(|object| {
            let key = |name: &str, end: &str| json!({"name": name, "secretRef": {"name": "keys", "key": name}, "notAfterTime": end});
            object["spec"]["signing"] =
                json!({"keys": [key("k2", "2026-09-22T00:00:00Z"), key("k1", "2026-09-21T00:00:00Z")]});
        }));
        let (spec, both) = (spec.unwrap(), secrets(&[("keys", "k1", "a"), ("keys", "k2", "b")]));
        for (now, keys_then, expired, next) in [
            ("2026-09-20T23:59:59Z", vec!["k2", "k1"], vec![], Some("2026-09-21T00:00:00Z")),
            ("2026-09-21T00:00:00Z", vec!["k2"], vec!["k1"], Some("2026-09-22T00:00:00Z")),
            ("2026-09-22T00:00:00Z", vec![], vec![], None),
        ] {
            let at: Timestamp = now.parse().unwrap();
            assert_eq!(names(&route(&spec, &both, &Addresses::new(), at)), keys_then, "{now}");
            assert_eq!(next_key_end(&spec, &both, at), next.map(|next| next.parse().unwrap()), "{now}");
            let found = keys(&spec, &both, at);
            let active = keys_then.first().map(|key| (*key).to_owned());
            let expired = expired.into_iter().map(str::to_owned).collect();
            let expected = active.map_or(observed::Keys::Expired, |active| observed::Keys::Found {
                active,
                missing: vec![],
                expired,
            });
            assert_eq!(found, expected, "{now}");
        }
    }

    #[test]
    fn the_previous_secret_from_linktree_expires_with_its_overlap() {
        let spec = Spec::parse(&webhook(|_| {})).unwrap();
        let mut both = secrets(&[("links-signing", "previous", "p"), ("links-signing", "secret", "s")]);
        let end = Timestamp::from_second(3600).unwrap();
        both.previous_not_after = Some(end);
        assert_eq!(names(&route(&spec, &both, &Addresses::new(), NOW)), ["provider", "provider-previous"]);
        assert_eq!(next_key_end(&spec, &both, NOW), Some(end));
        assert_eq!(names(&route(&spec, &both, &Addresses::new(), end)), ["provider"]);
    }

    #[test]
    fn a_sink_with_a_credential_that_cannot_be_used_is_unresolved_and_not_sent_to() {
        let spec = Spec::parse(&webhook(|object| {
            object["spec"]["sinks"] = json!([{
                "name": "cms",
                "http": {"url": "https://cms.example/", "authSecretRef": {"name": "cms", "key": "bearer"}},
                "signingSecretRef": {"name": "cms", "key": "signing"},
            }]);
        }));
        let spec = spec.unwrap();
        for (bearer, signing, expected) in [
            ("eyJh.\neyJz", "s3cret", Some("Secret cms, key bearer has a line break")),
            ("t0ken", "whsec_s3cret!", Some("Secret cms, key signing begins with whsec_, but the rest is not base64")),
            ("t0ken", "whsec_czNj\ncmV0", None),
        ] {
            let secrets = secrets(&[("cms", "bearer", bearer), ("cms", "signing", signing)]);
            let problem = unresolved(&spec, &secrets, &Addresses::new()).pop().map(|found| found.problem);
            assert_eq!(route(&spec, &secrets, &Addresses::new(), NOW).sinks[0].url.is_some(), expected.is_none());
            match (&problem, expected) {
                (Some(problem), Some(expected)) => assert!(problem.starts_with(expected), "{problem}"),
                (found, expected) => assert_eq!(found.as_deref(), expected),
            }
        }
    }

    #[test]
    fn a_sink_with_an_unresolved_reference_has_no_url_and_reports_the_reference() {
        let reference = json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"});
        let spec = Spec::parse(&webhook(|object| {
            object["spec"]["sinks"] = json!([
                {"name": "cms", "http": {"url": "https://cms.example/", "authSecretRef": {"name": "cms", "key": "bearer"}}},
                {"name": "chat", "http": {"urlSecretRef": {"name": "chat", "key": "url"}}},
                {"name": "broker", "addressable": {"ref": reference}},
                {"name": "audit", "service": {"name": "audit"}},
            ]);
        }));
        let spec = spec.unwrap();
        let Address::Addressable(reference) = &spec.sinks[2].address else { panic!() };
        let missing =
            Addresses::from([(reference.clone(), Err("there is no Broker default in this namespace".into()))]);
        let bad = secrets(&[("chat", "url", "no url")]);
        let problems = unresolved(&spec, &bad, &missing);
        let problems: Vec<_> = problems.iter().map(|found| (found.sink.as_str(), found.problem.as_str())).collect();
        assert_eq!(
            problems,
            [
                ("cms", "put a value into Secret cms, key bearer"),
                ("chat", "Secret chat, key url is not an http:// or https:// URL"),
                ("broker", "there is no Broker default in this namespace"),
            ]
        );
        let urls = |route: Route| -> Vec<bool> { route.sinks.iter().map(|sink| sink.url.is_some()).collect() };
        assert_eq!(urls(route(&spec, &bad, &missing, NOW)), [false, false, false, true]);
        let found = Addresses::from([(reference.clone(), Ok("http://broker.svc/".parse().unwrap()))]);
        let good = secrets(&[("chat", "url", "https://chat.example/x"), ("cms", "bearer", "t")]);
        assert_eq!(unresolved(&spec, &good, &found), []);
        assert_eq!(urls(route(&spec, &good, &found, NOW)), [true; 4]);
    }
}

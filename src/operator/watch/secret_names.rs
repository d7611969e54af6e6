//! The Secrets that a webhook's spec refers to.

use std::collections::BTreeSet;

use crate::api::{SecretKeyReference, sink::Sink, webhook::LinktreeWebhook};

/// The names of the Secrets that a webhook's spec refers to; a change of one of these Secrets enqueues the webhook.
#[must_use]
pub fn named_secrets(webhook: &LinktreeWebhook) -> BTreeSet<String> {
    let keys = webhook.spec.signing.keys.iter().map(|key| key.secret_ref.name.clone());
    let sinks = webhook.spec.sinks.iter().flat_map(referenced_secrets);
    keys.chain(sinks.map(|secret| secret.name.clone())).collect()
}

fn referenced_secrets(sink: &Sink) -> impl Iterator<Item = &SecretKeyReference> {
    let http = sink.http.iter().flat_map(|http| http.url_secret_ref.iter().chain(&http.auth_secret_ref));
    http.chain(&sink.signing_secret_ref)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    #[test]
    fn every_secret_in_a_spec_is_found() {
        let webhook = webhook(|object| {
            object["spec"]["signing"] = json!({"keys": [{"name": "k1", "secretRef": {"name": "keys", "key": "a"}}]});
            object["spec"]["sinks"][0]["http"]["authSecretRef"] = json!({"name": "cms", "key": "bearer"});
            object["spec"]["sinks"][0]["signingSecretRef"] = json!({"name": "cms-signing", "key": "secret"});
        });
        assert_eq!(named_secrets(&webhook), ["cms", "cms-signing", "keys"].map(String::from).into());
    }
}

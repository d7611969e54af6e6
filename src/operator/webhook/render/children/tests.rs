//! Tests of the rendered child objects.

use serde_json::{Value, json};

use super::*;
use crate::operator::webhook::{render::pod_config::Environment, spec::tests::webhook};

fn config() -> ReceiverPodConfig {
    ReceiverPodConfig {
        image: "localhost/x:dev".into(),
        pull_policy: None,
        egress_allow: Vec::new(),
        operator_namespace: "linktree-system".into(),
        environment: Environment::default(),
        ca_bundle: None,
    }
}

#[test]
fn only_the_operators_pods_in_its_own_namespace_reach_the_admin_port() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let policy = serde_json::to_value(network_policy(&spec, &config())).unwrap();
    // Both selectors in one peer: with two peers, either would do.
    let operator = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "linktree-system"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "linktree-webhook-operator"}},
    });
    let port = |number: u16| json!([{"port": number, "protocol": "TCP"}]);
    assert_eq!(
        policy["spec"]["ingress"],
        json!([{"ports": port(DELIVERY_PORT)}, {"from": [operator], "ports": port(ADMIN_PORT)}])
    );
}

/// A restored or recreated webhook has another uid, and the objects of the earlier one may still exist.
#[test]
fn only_owner_references_depend_on_the_uid() {
    let exposures = [
        json!({"type": "None"}),
        json!({"type": "Ingress"}),
        json!({"type": "HTTPRoute", "gatewayRef": {"name": "public"}}),
    ];
    for exposure in exposures {
        let [one, other] = ["u-1", "u-2"].map(|uid| {
            let spec = Spec::parse(&webhook(|object| {
                object["metadata"]["uid"] = uid.into();
                object["spec"]["endpoint"]["managed"] = json!({"host": "hooks.example.com", "exposure": exposure});
            }));
            let Children { service_account, service, network_policy, stateful_set, exposure } =
                render(&spec.unwrap(), &config()).unwrap();
            let exposure = exposure.map(|exposure| match exposure {
                ExposureObject::Ingress(object) | ExposureObject::HttpRoute(object) => object,
            });
            let all = [service_account, service, network_policy, stateful_set].into_iter().chain(exposure);
            let values = all.map(|desired| {
                let mut value = desired.value().clone();
                let owners = value["metadata"]["ownerReferences"].take();
                assert_eq!(owners[0]["uid"], uid, "{value}");
                value
            });
            values.collect::<Vec<_>>()
        });
        assert_eq!(one, other);
        assert!(!json!(one).to_string().contains("u-1"));
        let set = &one[3]["spec"];
        assert_eq!(set["volumeClaimTemplates"][0]["metadata"].get("ownerReferences"), None);
        let retained = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        assert_eq!(set["persistentVolumeClaimRetentionPolicy"], retained);
    }
}

#[test]
fn the_receivers_pod_is_restricted_and_has_no_credentials() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    insta::assert_yaml_snapshot!(stateful_set(&spec, &config()).spec.unwrap().template.spec);
}

/// The receiver's pod with these settings, as the API server gets it.
fn pod_with(edit: impl FnOnce(&mut ReceiverPodConfig)) -> Value {
    let mut config = config();
    edit(&mut config);
    serde_json::to_value(pod(&Spec::parse(&webhook(|_| {})).unwrap(), &config)).unwrap()
}

#[test]
fn a_receiver_has_the_configured_environment() {
    let variables = ["RUST_LOG=info,linktree_operator::receiver=debug", "EMPTY="];
    let pod = pod_with(|config| {
        config.environment = Environment::new(variables.map(|variable| variable.parse().unwrap()).to_vec());
    });
    let expected = json!([
        {"name": "RUST_LOG", "value": "info,linktree_operator::receiver=debug"},
        {"name": "EMPTY"},
    ]);
    assert_eq!(pod["containers"][0]["env"], expected);
    assert_eq!(pod_with(|_| {})["containers"][0].get("env"), None);
}

#[test]
fn a_receiver_trusts_the_ca_bundle_in_its_own_namespace_once_that_exists() {
    let source = json!({
        "defaultMode": 0o440, "optional": true, "items": [{"key": "roots.pem", "path": "ca.crt"}],
    });
    for (reference, kind, name) in [
        ("ConfigMap/private-authority/roots.pem", "configMap", "name"),
        ("Secret/private-authority/roots.pem", "secret", "secretName"),
    ] {
        let pod = pod_with(|config| config.ca_bundle = Some(reference.parse().unwrap()));
        let mut volume = json!({"name": "ca-bundle", kind: source});
        volume[kind][name] = json!("private-authority");
        assert_eq!(pod["volumes"][1], volume);
        let container = &pod["containers"][0];
        let mount = json!({"name": "ca-bundle", "mountPath": "/etc/linktree-ca", "readOnly": true});
        assert_eq!(container["volumeMounts"][2], mount);
        assert!(container["args"].as_array().unwrap().contains(&json!("--ca-file=/etc/linktree-ca/ca.crt")));
    }
}

#[test]
fn a_receiver_that_terminates_tls_has_its_certificate_and_an_https_port() {
    let spec = Spec::parse(&webhook(|object| {
        object["spec"]["endpoint"] = json!({"managed": {
            "host": "hooks.example.com", "exposure": {"type": "None"}, "tls": {"secretRef": {"name": "hooks-tls"}},
        }});
    }));
    let spec = spec.unwrap();
    let pod = serde_json::to_value(pod(&spec, &config())).unwrap();
    let volume = json!({"name": "certificate", "secret": {
        "secretName": "hooks-tls", "defaultMode": 0o440, "optional": true,
        "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}],
    }});
    assert_eq!(pod["volumes"][1], volume);
    let container = &pod["containers"][0];
    assert_eq!(container["volumeMounts"][2]["mountPath"], TLS_DIRECTORY);
    assert!(arguments(&spec, &config()).contains(&format!("--tls-directory={TLS_DIRECTORY}")));
    let port = &serde_json::to_value(service(&spec)).unwrap()["spec"]["ports"][0];
    assert_eq!((&port["port"], &port["appProtocol"]), (&json!(443), &json!("https")));
}

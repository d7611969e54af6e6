//! The settings of this operator that all receivers' pods share.

use std::{fmt, str::FromStr};

use ipnet::IpNet;

use crate::telemetry;

/// Pod settings that all receivers of this operator share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverPodConfig {
    pub image: String,
    pub pull_policy: Option<String>,
    /// Networks that receivers may connect to, although their egress rules deny them.
    pub egress_allow: Vec<IpNet>,
    /// The namespace of the operator's own pods.
    pub operator_namespace: String,
    pub environment: Environment,
    /// Certificate authorities that receivers trust besides the public ones.
    pub ca_bundle: Option<CaBundleReference>,
}

/// Environment variables in order, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<EnvironmentVariable>);

/// An environment variable, as `NAME=VALUE`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    pub name: String,
    pub value: String,
}

/// A key of a ConfigMap or Secret in the webhook's namespace, as `ConfigMap/NAME/KEY` or `Secret/NAME/KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaBundleReference {
    pub source: CaBundleSource,
    pub key: String,
}

/// The object that a CA bundle is in, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaBundleSource {
    ConfigMap(String),
    Secret(String),
}

/// Why an argument does not describe a setting. It quotes no value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("expected NAME=VALUE with a name of letters, digits, _, - and ., not beginning with a digit")]
    EnvironmentVariable,
    /// Every receiver would end at its start.
    #[error("{0}")]
    LogFilter(String),
    #[error("expected ConfigMap/NAME/KEY or Secret/NAME/KEY")]
    CaBundle,
}

impl Environment {
    /// The variables of which the last one of each name counts, as in a pod.
    #[must_use]
    pub fn new(variables: Vec<EnvironmentVariable>) -> Self {
        let mut unique: Vec<EnvironmentVariable> = Vec::new();
        for variable in variables {
            unique.retain(|earlier| earlier.name != variable.name);
            unique.push(variable);
        }
        Environment(unique)
    }

    #[must_use]
    pub fn variables(&self) -> &[EnvironmentVariable] {
        &self.0
    }
}

impl FromStr for EnvironmentVariable {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (name, value) = text.split_once('=').ok_or(Malformed::EnvironmentVariable)?;
        let is_in_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let begins_well = name.starts_with(|c: char| !c.is_ascii_digit());
        if !begins_well || !name.chars().all(is_in_a_name) {
            return Err(Malformed::EnvironmentVariable);
        }
        if name == "RUST_LOG" {
            telemetry::check(value).map_err(|error| Malformed::LogFilter(error.to_string()))?;
        }
        Ok(EnvironmentVariable { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Shows the name only.
impl fmt::Debug for EnvironmentVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentVariable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromStr for CaBundleReference {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parts: Vec<&str> = text.split('/').collect();
        let (source, key) = match parts[..] {
            ["ConfigMap", name, key] if !name.is_empty() => (CaBundleSource::ConfigMap(name.to_owned()), key),
            ["Secret", name, key] if !name.is_empty() => (CaBundleSource::Secret(name.to_owned()), key),
            [..] => return Err(Malformed::CaBundle),
        };
        if key.is_empty() { Err(Malformed::CaBundle) } else { Ok(CaBundleReference { source, key: key.to_owned() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_variable_has_a_name_and_any_value() {
        for (text, name, value) in
            [("RUST_LOG=debug", "RUST_LOG", "debug"), ("A=", "A", ""), ("a.b-c=x=y, z", "a.b-c", "x=y, z")]
        {
            let variable = EnvironmentVariable::from_str(text).unwrap();
            assert_eq!((variable.name.as_str(), variable.value.as_str()), (name, value), "{text}");
            assert!(!format!("{variable:?}").contains(&format!("\"{value}\"")), "{variable:?}");
        }
        for text in ["RUST_LOG", "=x", "1A=x", "A B=x", "Ä=x", ""] {
            assert_eq!(EnvironmentVariable::from_str(text), Err(Malformed::EnvironmentVariable), "{text}");
        }
        let error = EnvironmentVariable::from_str("RUST_LOG=warning").unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG has the directive \"warning\" without a level"), "{error}");
    }

    #[test]
    fn the_last_variable_of_a_name_counts() {
        let all = ["A=1", "B=2", "A=3"].map(|text| text.parse().unwrap());
        let environment = Environment::new(all.to_vec());
        let names: Vec<_> = environment.variables().iter().map(|it| format!("{}={}", it.name, it.value)).collect();
        assert_eq!(names, ["B=2", "A=3"]);
    }

    #[test]
    fn a_ca_bundle_is_in_a_config_map_or_a_secret() {
        let parsed = CaBundleReference::from_str("ConfigMap/private-authority/roots.pem").unwrap();
        assert_eq!(parsed.source, CaBundleSource::ConfigMap("private-authority".into()));
        assert_eq!(parsed.key, "roots.pem");
        let parsed = CaBundleReference::from_str("Secret/authority/ca.crt").unwrap();
        assert_eq!(parsed.source, CaBundleSource::Secret("authority".into()));
        for text in ["", "root", "ConfigMap/roots", "ConfigMap//ca.crt", "Secret/roots/", "Pod/a/b", "Secret/a/b/c"] {
            assert_eq!(CaBundleReference::from_str(text), Err(Malformed::CaBundle), "{text}");
        }
    }
}

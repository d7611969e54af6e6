//! The forward proxies of the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and their exceptions in `NO_PROXY`,
//! each in upper or lower case. Pure, except for reading the environment.

use std::{env, fmt, sync::Arc};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// The forward proxies of a process.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    /// The rules of `NO_PROXY`. None without a proxy.
    rules: Option<Arc<Matcher>>,
}

/// A variable that does not name a proxy. The message does not quote its value, which may have a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is not the URL of an HTTP proxy: set it as http://HOST:PORT or https://HOST:PORT, or remove it")]
pub struct NoProxyUrl {
    variable: String,
}

impl Proxies {
    /// The proxies that this process's environment names.
    ///
    /// # Errors
    /// If a variable is not the URL of an HTTP proxy.
    pub fn of_environment() -> Result<Self, NoProxyUrl> {
        Proxies::of(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// The proxies that these variables name. Of a variable in upper and lower case, the former counts.
    ///
    /// # Errors
    /// If a variable is not the URL of an HTTP proxy.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, NoProxyUrl> {
        let found = |name: &str| {
            let value = |name: &str| Some((name.to_owned(), variable(name)?.trim().to_owned()));
            let is_set = |(_, value): &(String, String)| !value.is_empty();
            value(name).filter(is_set).or_else(|| value(&name.to_ascii_lowercase()).filter(is_set))
        };
        let proxy = |name: &str| {
            let parsed = |(variable, value): (String, String)| parse(&value).ok_or(NoProxyUrl { variable });
            found(name).map(parsed).transpose()
        };
        let all = proxy("ALL_PROXY")?;
        let (http, https) = (proxy("HTTP_PROXY")?.or_else(|| all.clone()), proxy("HTTPS_PROXY")?.or(all));
        let except = found("NO_PROXY").map(|(_, value)| value).unwrap_or_default();
        // hyper-util's `*` is about names only.
        if except.split(',').any(|exception| exception.trim() == "*") {
            return Ok(Proxies::default());
        }
        let text = |proxy: &Option<Url>| proxy.as_ref().map(Url::to_string).unwrap_or_default();
        let rules = || Arc::new(Matcher::builder().http(text(&http)).https(text(&https)).no(except).build());
        Ok(Proxies { rules: (http.is_some() || https.is_some()).then(rules), http, https })
    }

    /// Whether there is a proxy for any URL.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.rules.is_some()
    }

    /// Whether a request to `url` goes through a proxy.
    #[must_use]
    pub fn intercept(&self, url: &Url) -> bool {
        let Some(rules) = &self.rules else { return false };
        url.as_str().parse::<Uri>().is_ok_and(|uri| rules.intercept(&uri).is_some())
    }

    /// The hosts of the proxies, in lower case.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let proxies = [&self.http, &self.https];
        proxies.into_iter().flatten().filter_map(Url::host_str).map(str::to_ascii_lowercase).collect()
    }

    /// The proxies as a client takes them.
    ///
    /// # Errors
    /// If the client cannot use one.
    pub fn for_client(&self) -> Result<Vec<reqwest::Proxy>, reqwest::Error> {
        let http = self.http.iter().map(|proxy| reqwest::Proxy::http(proxy.clone()));
        http.chain(self.https.iter().map(|proxy| reqwest::Proxy::https(proxy.clone()))).collect()
    }
}

/// Shows the hosts only: the URLs may have passwords.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("hosts", &self.hosts()).finish_non_exhaustive()
    }
}

/// The URL of a proxy, which may lack the scheme `http`.
fn parse(value: &str) -> Option<Url> {
    let url = if value.contains("://") { Url::parse(value) } else { Url::parse(&format!("http://{value}")) };
    url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, NoProxyUrl> {
        Proxies::of(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_variable_applies_to_its_scheme_and_except_for_its_hosts() {
        let corporate = "http://proxy.corp.example:3128";
        for (variables, through_a_proxy) in [
            (&[][..], [false, false, false, false]),
            (&[("HTTPS_PROXY", corporate)], [true, false, true, true]),
            (&[("https_proxy", "proxy.corp.example:3128")], [true, false, true, true]),
            (&[("HTTP_PROXY", corporate)], [false, true, false, false]),
            (&[("http_proxy", corporate)], [false, true, false, false]),
            (&[("all_proxy", "https://user:p%40ss@Proxy.corp.example")], [true, true, true, true]),
            (&[("ALL_PROXY", corporate), ("NO_PROXY", "*")], [false, false, false, false]),
            (&[("ALL_PROXY", corporate), ("NO_PROXY", "example.com")], [true, true, false, true]),
            (&[("ALL_PROXY", corporate), ("no_proxy", ".example.com, 10.0.0.0/8")], [true, true, false, false]),
            (&[("HTTPS_PROXY", ""), ("https_proxy", corporate)], [true, false, true, true]),
            (&[("NO_PROXY", "example.com")], [false, false, false, false]),
        ] {
            let proxies = proxies(variables).unwrap();
            let urls =
                ["https://api.linktr.ee/v1", "http://api.linktr.ee/", "https://a.example.com/", "https://10.1.2.3/"];
            let found = urls.map(|url| proxies.intercept(&Url::parse(url).unwrap()));
            assert_eq!(found, through_a_proxy, "{variables:?}");
            assert_eq!(proxies.hosts().iter().any(|host| host == "proxy.corp.example"), proxies.is_any());
            assert!(!format!("{proxies:?}").contains("p%40ss"));
            assert!(proxies.for_client().is_ok());
        }
    }

    #[test]
    fn a_variable_that_names_no_http_proxy_is_an_error_without_its_value() {
        for (variable, value) in [
            ("HTTPS_PROXY", "socks5://user:s3cret@proxy.corp.example"),
            ("https_proxy", "http://"),
            ("HTTP_PROXY", "s3cret proxy"),
            ("ALL_PROXY", "ftp://proxy.corp.example"),
        ] {
            let error = proxies(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable} is not the URL of an HTTP proxy: set it")), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}

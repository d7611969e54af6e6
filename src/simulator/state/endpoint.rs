//! The urls that a subscription may have.

use url::{Host, Url};

use super::rejection::Rejection;

/// The longest url of a subscription, in bytes. Assumed.
pub const URL_MAX: usize = 2048;

/// Accepts https urls, and http urls with a host inside the cluster or on this machine. The documented service accepts
/// only https; the exception makes the simulator usable without certificates.
///
/// # Errors
/// [`Rejection::Unprocessable`] with the problem.
pub fn check(text: &str) -> Result<(), Rejection> {
    let reject = |problem: &str| Err(Rejection::Unprocessable(format!("url: {problem}")));
    if text.len() > URL_MAX {
        return reject("too long");
    }
    let Ok(url) = Url::parse(text) else {
        return reject("not a URL");
    };
    // The parser repairs the mistakes that browsers repair, but the url is later compared as text, so it must be
    // correct already.
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') || !text.contains("://") {
        return reject("not a URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return reject("must not contain a user or password");
    }
    match (url.scheme(), url.host()) {
        (_, None) => reject("has no host"),
        ("https", Some(_)) => Ok(()),
        ("http", Some(host)) if is_local(&host) => Ok(()),
        _ => reject("must be https (http only for hosts inside the cluster and for loopback)"),
    }
}

fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".svc") || name.ends_with(".svc.cluster.local"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_accepted_anywhere_and_http_only_for_local_hosts() {
        for good in [
            "https://hooks.example.com/h/1",
            "https://10.0.0.1",
            "http://receiver.shop.svc:8080/h/1",
            "http://receiver.shop.svc.cluster.local/h/1",
            "http://127.0.0.1:1234/",
            "http://[::1]:1234/",
            "http://localhost/x",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "hooks.example.com",
            "http://hooks.example.com/h/1",
            "http://svc/",
            "http://evil.svc.example.com/",
            "http://10.0.0.1/",
            "ftp://hooks.example.com/",
            "https://user@hooks.example.com/",
            "https:hooks.example.com",
            "https://hooks.example.com/a b",
            "https://hooks\\example.com/",
            &format!("https://hooks.example.com/{}", "x".repeat(URL_MAX)),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}

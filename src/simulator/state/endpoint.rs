//! Which urls a subscription may have.

use url::{Host, Url};

use super::refusal::Refusal;

/// Assumed.
pub const URL_MAX: usize = 2048;

/// Accepts https urls, and http ones where the host is inside the cluster or this machine. The documented service
/// takes https only; the exception is what makes the simulator useful without certificates.
///
/// # Errors
/// [`Refusal::Unprocessable`] with what is wrong.
pub fn check(text: &str) -> Result<(), Refusal> {
    let refuse = |problem: &str| Err(Refusal::Unprocessable(format!("url: {problem}")));
    if text.len() > URL_MAX {
        return refuse("too long");
    }
    let Ok(url) = Url::parse(text) else {
        return refuse("not a URL");
    };
    // The parser repairs what browsers repair. A url that is compared later must not need that.
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') || !text.contains("://") {
        return refuse("not a URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not hold a user or password");
    }
    match (url.scheme(), url.host()) {
        (_, None) => refuse("has no host"),
        ("https", Some(_)) => Ok(()),
        ("http", Some(host)) if is_local(&host) => Ok(()),
        _ => refuse("must be https (http only for hosts inside the cluster and for loopback)"),
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
    fn https_anywhere_and_http_only_nearby() {
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

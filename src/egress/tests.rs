//! Addresses in every spelling that a URL allows, and whether the rules permit them.

use super::*;

/// `never`: denied for every sink; `private`: only for a sink in the cluster; `public`: for any sink. The chaos tests
/// use the first two as sinks.
const TABLE: &str = include_str!("../../tests/golden/egress.txt");

fn address(host: &str) -> IpAddr {
    match Url::parse(&format!("http://{host}/in")).unwrap().host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain(_)) | None => panic!("{host} is no address to a URL"),
    }
}

#[test]
fn addresses_are_classified_in_every_spelling() {
    let egress = Egress::default();
    for line in TABLE.lines() {
        let (kind, host) = line.split_once(' ').unwrap();
        let (in_cluster, elsewhere) = match kind {
            "never" => (false, false),
            "private" => (true, false),
            "public" => (true, true),
            other => panic!("{other}"),
        };
        let may = |reach| egress.check(address(host), reach).is_ok();
        assert_eq!((may(Reach::Cluster), may(Reach::Public)), (in_cluster, elsewhere), "{host}");
        let url = Url::parse(&format!("https://{host}:8443/in")).unwrap();
        assert_eq!(egress.check_literal(&url).is_ok(), elsewhere, "{host} in a URL is in no cluster");
    }
}

#[test]
fn only_the_name_of_a_service_is_in_the_cluster() {
    for host in ["cms.marketing.svc", "CMS.marketing.SVC.", "cms.marketing.svc.cluster.local", "a.b.svc:8080"] {
        assert_eq!(Reach::of(&Url::parse(&format!("http://{host}/")).unwrap()), Reach::Cluster, "{host}");
    }
    for host in [
        "svc",
        "cms.svc.example.com",
        "svc.cluster.local",
        "evilsvc",
        "cms.internal",
        "localhost",
        "cluster.local",
        "a.svc.cluster.local.example",
        "10.0.0.1",
        "[fd00::1]",
    ] {
        assert_eq!(Reach::of(&Url::parse(&format!("http://{host}/")).unwrap()), Reach::Public, "{host}");
    }
}

#[test]
fn an_exception_applies_to_its_network_only_in_every_spelling() {
    let egress = Egress::new(vec!["10.20.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()]);
    for host in ["10.20.0.1", "10.20.255.255", "[::ffff:10.20.0.1]", "[::1]"] {
        assert_eq!(egress.check(address(host), Reach::Public), Ok(()), "{host}");
    }
    for host in ["10.21.0.1", "127.0.0.1", "169.254.169.254", "[::ffff:10.21.0.1]", "[2002:a14:1::]"] {
        assert!(egress.check(address(host), Reach::Public).is_err(), "{host}");
    }
}

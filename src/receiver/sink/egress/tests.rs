//! Addresses in every spelling a URL knows, and which of them may be connected to.

use super::*;

/// Never, wherever the sink says it is.
const NEVER: &[&str] = &[
    // Loopback, as URLs may spell it.
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.255",
    "127.8.8.8",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0X7F.0X0.0X0.0X1",
    "017700000001",
    "0177.0.0.1",
    "0177.1",
    "00177.0.0.01",
    "2130706433",
    "2130706434",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.０.０.１",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127．0．0．1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::FFFF:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    // This host, this network.
    "0.0.0.0",
    "0",
    "0x0",
    "00",
    "0.1.2.3",
    "0.255.255.255",
    "[::]",
    "[0:0:0:0:0:0:0:0]",
    "[::ffff:0.0.0.0]",
    "[64:ff9b::]",
    "[2002::]",
    // Link-local, and the metadata services that are there.
    "169.254.169.254",
    "169.254.0.1",
    "169.254.255.255",
    "169.254.170.2",
    "169.254.169.253",
    "0xa9fea9fe",
    "2852039166",
    "025177524776",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fe80::1]",
    "[fe80::a9fe:a9fe]",
    "[febf:ffff::1]",
    "[fec0::1]",
    "[feff::1]",
    // Metadata services elsewhere.
    "100.100.100.200",
    "168.63.129.16",
    "[::ffff:100.100.100.200]",
    "[64:ff9b::168.63.129.16]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    // Multicast, broadcast, reserved.
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "250.1.2.3",
    "255.255.255.255",
    "0xffffffff",
    "4294967295",
    "[ff02::1]",
    "[ff05::2]",
    "[ff0e::1]",
    "[::ffff:224.0.0.1]",
    "[::ffff:255.255.255.255]",
    // Documentation, assignments of the IETF, relays and tunnels.
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.9",
    "192.0.0.1",
    "192.0.0.192",
    "192.88.99.1",
    "[2001:db8::1]",
    "[3fff::1]",
    "[3fff:fff::1]",
    "[2001::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[64:ff9b:1::1]",
    "[100::1]",
    "[5f00::1]",
    "[1::1]",
    "[4000::1]",
    "[::2]",
    "[::ffff:0:0:1]",
];

/// Only for a sink in the cluster.
const PRIVATE: &[&str] = &[
    "10.0.0.1",
    "10.255.255.255",
    "10.96.0.1",
    "0xa.0.0.1",
    "012.0.0.1",
    "167772161",
    "10.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.1",
    "0xc0a80001",
    "3232235521",
    "100.64.0.1",
    "100.127.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "[::ffff:10.0.0.1]",
    "[::ffff:a00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::c0a8:1]",
    "[2002:a00:1::]",
    "[2002:c0a8:1::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd12:3456:789a::1]",
    "[fdff:ffff::1]",
];

/// For any sink. Some are next to what is not.
const PUBLIC: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "192.169.0.1",
    "192.0.1.1",
    "192.0.3.1",
    "198.17.255.255",
    "198.20.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "223.255.255.255",
    "134744072",
    "0x08080808",
    "[2606:4700::1111]",
    "[2001:4860::8888]",
    "[2a00:1450::1]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::8.8.8.8]",
    "[2002:808:808::]",
    "[3ffe::1]",
];

fn address(host: &str) -> IpAddr {
    match Url::parse(&format!("http://{host}/in")).unwrap().host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain(_)) | None => panic!("{host} is no address to a URL"),
    }
}

#[test]
fn addresses_are_told_apart_in_every_spelling() {
    assert!(NEVER.len() + PRIVATE.len() + PUBLIC.len() >= 150);
    let egress = Egress::default();
    for (hosts, in_cluster, elsewhere) in [(NEVER, false, false), (PRIVATE, true, false), (PUBLIC, true, true)] {
        for host in hosts {
            let may = |reach| egress.check(address(host), reach).is_ok();
            assert_eq!((may(Reach::Cluster), may(Reach::Public)), (in_cluster, elsewhere), "{host}");
            let url = Url::parse(&format!("https://{host}:8443/in")).unwrap();
            assert_eq!(egress.check_literal(&url).is_ok(), elsewhere, "{host} in a URL is in no cluster");
        }
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
fn an_exception_holds_for_its_network_alone_and_however_the_address_is_written() {
    let egress = Egress::new(vec!["10.20.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()]);
    for host in ["10.20.0.1", "10.20.255.255", "[::ffff:10.20.0.1]", "[::1]"] {
        assert_eq!(egress.check(address(host), Reach::Public), Ok(()), "{host}");
    }
    for host in ["10.21.0.1", "127.0.0.1", "169.254.169.254", "[::ffff:10.21.0.1]", "[2002:a14:1::]"] {
        assert!(egress.check(address(host), Reach::Public).is_err(), "{host}");
    }
}

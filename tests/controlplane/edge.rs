//! A real edge: nginx with a certificate of an authority of the test's own, in front of the receiver. Whatever can be
//! wrong there is diagnosed on the webhook, and what is mended is noticed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use linktree_operator::api::webhook_status::ProbeResult;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;

use crate::{network::Place, wait::until, world::scenario};

const HOST: &str = "hooks.example.com";

/// The authority of the edge's certificates.
struct Authority {
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(directory: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = directory.join("authority.pem");
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { file, issuer: Issuer::new(params, key) }
    }
}

/// A running nginx. Ended when it is dropped.
struct Edge {
    prefix: PathBuf,
    address: SocketAddr,
    authority: Authority,
    nginx: Option<Child>,
}

impl Edge {
    /// An edge at this address that is not there yet.
    fn new(prefix: &Path, address: SocketAddr) -> Self {
        std::fs::create_dir_all(prefix).unwrap();
        Edge { prefix: prefix.to_owned(), address, authority: Authority::new(prefix), nginx: None }
    }

    /// Has it show a certificate for `name` that ends with `year`.
    fn certify(&self, name: &str, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 12, 31));
        let certificate = params.signed_by(&key, &self.authority.issuer).unwrap();
        std::fs::write(self.prefix.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(self.prefix.join("tls.key"), key.serialize_pem()).unwrap();
    }

    /// Has it do this with every request: a directive of nginx.
    fn answer(&self, directive: &str) {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {}/tmp-{of};", self.prefix.display()))
            .join("\n");
        let configuration = format!(
            "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log error.log;\nevents {{}}\nhttp {{\n{temporary}\n\
             access_log off;\nserver {{\nlisten {} ssl;\nssl_certificate tls.crt;\nssl_certificate_key tls.key;\n\
             location / {{ {directive} }}\n}}\n}}\n",
            self.address,
        );
        std::fs::write(self.prefix.join("nginx.conf"), configuration).unwrap();
    }

    /// Takes up what was changed.
    fn reload(&mut self) {
        if self.nginx.is_some() {
            return self.signal(Signal::SIGHUP);
        }
        let mut command = Command::new("nginx");
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap()));
        command.args(["-c", "nginx.conf", "-e", "error.log", "-p"]).arg(&self.prefix).stdin(Stdio::null());
        self.nginx = Some(command.spawn().expect("nginx is installed: `make setup` does so"));
    }

    /// It is not there any more.
    fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        if let Some(mut nginx) = self.nginx.take() {
            nginx.wait().unwrap();
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(nginx) = &self.nginx {
            kill(Pid::from_raw(i32::try_from(nginx.id()).unwrap()), signal).unwrap();
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.end();
    }
}

#[tokio::test]
async fn what_is_wrong_at_the_edge_is_said_and_mended_is_noticed() {
    scenario(async |world| {
        world.connect(|_| {}).await;
        let endpoint = json!({"managed": {"host": HOST, "exposure": {"type": "None"}}});
        let mut node = world.webhook("links", |spec| spec["endpoint"] = endpoint).await;
        let mut edge = Edge::new(&world.directory().join("edge"), SocketAddr::from((node.address, 8443)));
        world.network.route(HOST, Place::At(edge.address));
        world.operator.kill();
        world.start_operator_behind_edge(&edge.authority.file);
        node.start().await;
        let receiver = format!("proxy_pass http://{};", node.delivery_address());

        edge.certify("other.example.com", 2099);
        edge.answer(&receiver);
        edge.reload();
        world.until_condition("links", "EndpointReachable", "False", "CertificateNameMismatch").await;

        edge.certify(HOST, 2024);
        edge.reload();
        let message = world.until_condition("links", "EndpointReachable", "False", "CertificateExpired").await;
        assert!(message.contains("2024-12-31T00:00:00Z"), "{message}");
        // A probe may still have met the nginx from before the reload after one that met the new one.
        until("the status has the certificate's end", async || {
            let told = world.status("links").await.endpoint.unwrap();
            told.last_probe_result == ProbeResult::CertificateExpired
                && told.certificate_expiration_time.is_some_and(|end| end.0.to_string() == "2024-12-31T00:00:00Z")
        })
        .await;

        edge.certify(HOST, 2099);
        for (directive, words) in [
            ("return 302 https://login.example.com/;", "a redirect (302 Found) to https://login.example.com/"),
            ("default_type text/html; return 200 '<html>Welcome';", "200 OK with an HTML page"),
            ("return 401 no;", "401 Unauthorized from something that asks for credentials of its own"),
        ] {
            edge.answer(directive);
            edge.reload();
            until(words, async || {
                let found = world.condition("links", "EndpointReachable").await;
                found.is_some_and(|it| it.reason == "UnexpectedResponse" && it.message.contains(words))
            })
            .await;
        }
        edge.end();
        world.until_condition("links", "EndpointReachable", "False", "ConnectionFailed").await;
        world.until_condition("links", "Ready", "False", "ConnectionFailed").await;
        assert_eq!(world.subscriptions().await.len(), 0, "nothing is registered that could not be delivered to");

        edge.answer(&receiver);
        edge.reload();
        world.until_condition("links", "EndpointReachable", "True", "ProbeSucceeded").await;
        world.until_condition("links", "Ready", "True", "Available").await;
        let told = world.status("links").await.endpoint.unwrap();
        // When the certificate ends is not known here: the probe goes through a proxy. `tests/it/probe.rs` has it.
        assert_eq!((told.last_probe_result, told.certificate_expiration_time), (ProbeResult::Succeeded, None));
    })
    .await;
}

//! The binary, started with a mistake: it says on stderr what is wrong and exits with an error, whatever the log level.

use std::{
    io::Read,
    net::TcpListener,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// The longest wait for the end of a process that cannot start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the binary, without the environment of this test.
fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linktree-operator"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command
}

/// The lines on stderr of a process that must fail.
fn failure(mut command: Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = String::new();
        stderr.read_to_string(&mut lines).unwrap();
        send.send(lines)
    });
    // stderr ends when the process does.
    let lines = lines.recv_timeout(PATIENCE);
    let _ = child.kill();
    let status = child.wait().unwrap();
    let lines = lines.unwrap_or_else(|_| panic!("it did not exit: {command:?}"));
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {lines}");
    lines
}

#[test]
fn a_bad_log_filter_is_named() {
    for (filter, problem) in [
        ("warning", "RUST_LOG has the directive \"warning\" without a level that exists: use error, warn, info"),
        ("info,linktree_operator=loud", "RUST_LOG has the directive \"linktree_operator=loud\" without a level"),
        ("info,[=debug", "RUST_LOG is not a valid filter"),
    ] {
        for format in ["text", "json"] {
            let lines = failure(command(&["crds", "--log-format", format], &[("RUST_LOG", filter)]));
            assert!(lines.starts_with(&format!("linktree-operator: {problem}")), "{filter}: {lines}");
        }
    }
}

#[test]
fn every_other_error_at_the_start_is_reported_though_the_log_is_muted() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let kubeconfig = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        path(name)
    };
    let reachable = kubeconfig("reachable", KUBECONFIG);
    let broken = kubeconfig("broken", "clusters: [");
    let operator = ["operator", "--receiver-image=x", "--metrics-address=127.0.0.1:0"];
    let receiver = ["receiver", "--route-file=/no/such/file"];
    let with = |common: &[&str], more: &[&str]| -> Vec<String> {
        common.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    };
    let cases = [
        (with(&operator, &[]), path("none"), "no Kubernetes cluster is configured"),
        (with(&operator, &[]), broken, "no Kubernetes cluster is configured"),
        (with(&operator, &["--ca-file=/no/such/file"]), reachable.clone(), "/no/such/file"),
        (with(&operator[..2], &[&format!("--metrics-address={taken}")]), reachable, "cannot listen on 127.0.0.1"),
        (with(&operator, &["--egress-allow=intranet"]), path("none"), "--egress-allow"),
        (
            with(&receiver, &[&format!("--journal={}", path("journal")), &format!("--delivery-address={taken}")]),
            path("none"),
            "cannot listen on 127.0.0.1",
        ),
        (with(&["simulator", "--ca-file=/no/such/file"], &[]), path("none"), "/no/such/file"),
        (with(&["simulator"], &["--accounts-file=/no/such/file"]), path("none"), "/no/such/file"),
    ];
    for (arguments, kubeconfig, problem) in &cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        for filter in ["info", "off"] {
            let environment = [("RUST_LOG", filter), ("KUBECONFIG", kubeconfig.as_str())];
            let lines = failure(command(&arguments, &environment));
            assert!(lines.contains(problem), "{arguments:?} with RUST_LOG={filter}: {lines:?}");
        }
    }
}

#[test]
fn a_ca_bundle_and_a_proxy_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let kubeconfig = write("kubeconfig", KUBECONFIG);
    let broken = write("ca.crt", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n");
    let bundle = format!("--ca-file={broken}");
    let journal = format!("--journal={}", directory.path().join("journal").display());
    let operator = ["operator", "--receiver-image=x", "--metrics-address=127.0.0.1:0"];
    let receiver = ["receiver", "--route-file=/no/such/file", journal.as_str()];
    let problem = "it is not valid PEM from certificate 1 on (a line is not base64)";
    let proxy = "HTTP_PROXY is not the URL of an HTTP proxy: set it as http://HOST:PORT";
    for (arguments, bad_argument, variable, problem) in [
        (operator, bundle.as_str(), ("A", ""), problem),
        (receiver, bundle.as_str(), ("A", ""), problem),
        (operator, "--receiver-ca-bundle=roots", ("A", ""), "expected ConfigMap/NAME/KEY or Secret/NAME/KEY"),
        (operator, "--receiver-env=RUST_LOG=warning", ("A", ""), "RUST_LOG has the directive \"warning\""),
        (operator, "--operator-name=x", ("HTTP_PROXY", "ftp://proxy:s3cret@x"), proxy),
    ] {
        let arguments = [&arguments[..], &[bad_argument]].concat();
        let lines = failure(command(&arguments, &[("KUBECONFIG", kubeconfig.as_str()), variable]));
        assert!(lines.contains(problem) && !lines.contains("s3cret"), "{arguments:?}: {lines}");
    }
}

/// A cluster whose API server does not exist; nothing is sent to it before the process can work.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
";

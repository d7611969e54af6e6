//! Signatures and replays, checked by an oracle that is independent of our code: `oracle.py` uses only Python's
//! standard library and its own admission rules, written from the contract.

use std::process::Command;

use linktree_operator::{
    linktree::secret::Secret,
    route::{Key, Route, StaleDeliveryPolicy},
};

use super::{
    process::{self, Process},
    row::{Row, count},
};

#[test]
fn signatures_and_replays() {
    let mut row = Row::new("signatures and replays", "signatures_and_replays");
    let cases = count(100_000, 1_500);
    let policies = [("reject", StaleDeliveryPolicy::Reject), ("accept-once", StaleDeliveryPolicy::AcceptOnce)];
    for (name, policy) in policies {
        let keys = vec![
            Key { name: "new".into(), secret: Secret::new("whsec_new") },
            Key { name: "old".into(), secret: Secret::new("whsec_old") },
            Key { name: "empty".into(), secret: Secret::new("") },
        ];
        judge(name, &Route { keys, stale_delivery_policy: policy, ..process::route(None) }, cases / 2, &mut row);
    }
    row.finish();
}

fn judge(policy: &str, route: &Route, cases: usize, row: &mut Row) {
    let directory = process::directory();
    process::write_route(directory.path(), route);
    let receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    let oracle = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chaos/oracle.py");
    let output = Command::new("python3")
        .args([oracle, policy, &receiver.delivery.port().to_string(), &cases.to_string(), &row.seed.to_string()])
        .output()
        .expect("cannot start python3");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the oracle itself failed: {}", String::from_utf8_lossy(&output.stderr));
    for line in said.lines() {
        match line.strip_prefix("tried ") {
            Some(tried) => row.tried(tried.parse().unwrap()),
            None => row.violated(format!("{policy}: {line}")),
        }
    }
}

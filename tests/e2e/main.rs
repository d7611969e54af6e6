//! End-to-end tests of the chart and the image on a real node. `make test-e2e` runs them; the current kubectl context
//! must be a cluster that is deleted afterwards.
#![allow(clippy::print_stdout, reason = "a failed test shows its evidence")]
#![allow(clippy::disallowed_methods, reason = "deadlines for a real cluster need the real clock")]
#![allow(unreachable_pub, reason = "no item of a test binary is reachable from outside")]

use std::{env, fs::File, path::PathBuf};

use anyhow::Result;

use self::{
    harness::Harness,
    scenario::Scenario,
    support::{certificate_authority, nginx},
    transcript::Transcript,
};

mod call;
mod delivery_counts;
mod diagnostics;
mod direct_client;
mod dump;
mod edge;
mod harness;
mod journal_full;
mod keys_rotated;
mod leader_lost;
mod load;
mod node;
mod operator_killed;
mod operator_outside;
mod orphan_released;
mod pods_restricted;
mod port_forward;
mod receiver_rolled;
mod scenario;
mod simulator;
mod sink;
mod sink_changed;
mod transcript;
mod wait;

/// The parts of `tests/support` that this binary uses.
#[path = "../support"]
mod support {
    pub mod certificate_authority;
    pub mod nginx;
}

const INSTALL_FLAGS: &str = "--set image.tag=dev --set simulator.enabled=true --values tests/e2e/accounts.yaml";

#[test]
fn the_whole_life_of_a_subscription() -> Result<()> {
    let mut scenario = Scenario::new(Transcript::new(), INSTALL_FLAGS)?;
    let result = scenario.run();
    dump::if_failed(&result, scenario.transcript, scenario::NAMESPACE, &mut scenario.simulator);
    result
}

#[test]
fn every_pod_is_restricted_and_only_the_operator_has_credentials() -> Result<()> {
    check("pods-restricted", "", pods_restricted::check)
}

#[test]
fn an_operator_killed_during_registration_leaves_one_subscription() -> Result<()> {
    check("operator-killed", "", operator_killed::check)
}

#[test]
fn an_operator_outside_the_cluster_reconciles_and_finalizes() -> Result<()> {
    check("operator-outside", "", operator_outside::check)
}

#[test]
fn a_changed_sink_takes_effect_within_ten_seconds_without_a_restart() -> Result<()> {
    check("sink-changed", "", sink_changed::check)
}

#[test]
fn rolling_the_receiver_image_under_load_loses_no_event() -> Result<()> {
    check("receiver-rolled", "", receiver_rolled::check)
}

#[test]
fn rotating_the_signing_key_under_load_rejects_no_delivery() -> Result<()> {
    check("keys-rotated", "", keys_rotated::check)
}

#[test]
fn the_status_counts_conflicts_and_rejections() -> Result<()> {
    check("delivery-counts", "", delivery_counts::check)
}

#[test]
fn a_full_journal_is_reported_within_a_minute_and_recovers() -> Result<()> {
    check("journal-full", journal_full::SPEC, journal_full::check)
}

#[test]
fn edge_faults_are_reported_and_their_repair_is_detected() -> Result<()> {
    check("diagnostics", "", diagnostics::check)
}

#[test]
fn a_lost_leader_is_replaced() -> Result<()> {
    check("leader-lost", leader_lost::SPEC, leader_lost::check)
}

#[test]
fn a_namespace_deleted_while_linktree_is_down_is_gone_after_the_deletion_deadline() -> Result<()> {
    check("orphan-released", orphan_released::SPEC, orphan_released::check)
}

/// Runs a check in its own namespace, with its own Linktree account. `more` is appended to the webhook's spec.
fn check(name: &str, more: &str, check: fn(&mut Harness) -> Result<()>) -> Result<()> {
    let transcript = Transcript::new();
    install(transcript)?;
    let mut harness = Harness::new(transcript, name, more)?;
    let result = harness.become_ready().and_then(|()| check(&mut harness));
    dump::if_failed(&result, transcript, name, &mut harness.simulator);
    result
}

/// Installs the chart, one test at a time: Helm rejects concurrent upgrades of a release.
fn install(transcript: Transcript) -> Result<()> {
    let directory = env::var_os("LINKTREE_CLUSTER_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let lock = File::create(directory.join("e2e.lock"))?;
    lock.lock()?;
    scenario::install::install(transcript, INSTALL_FLAGS)
}

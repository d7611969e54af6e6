//! End to end: the chart and the image on a real node, a real kubelet under the receiver. `make test-e2e` runs it; it
//! needs the current kubectl context to be a cluster that ends with it.
#![allow(clippy::print_stdout, reason = "what was seen is shown when a test fails")]
#![allow(clippy::disallowed_methods, reason = "waiting for a real cluster has deadlines by the real clock")]
#![allow(unreachable_pub, reason = "nothing of a test is reachable from outside")]

use std::{env, fs::File, path::PathBuf};

use anyhow::Result;

use self::{narrator::Narrator, place::Place, story::Story};

mod abandoned;
#[path = "../edge/authority.rs"]
mod authority;
mod call;
mod counted;
mod diagnosed;
mod direct;
mod dump;
mod edge;
mod forward;
mod full;
mod killed;
mod leader;
mod load;
mod narrator;
#[path = "../edge/nginx.rs"]
mod nginx;
mod node;
mod outside;
mod place;
mod reload;
mod restricted;
mod rolled;
mod rotated;
mod simulator;
mod sink;
mod story;
mod wait;

const INSTALL_FLAGS: &str = "--set image.tag=dev --set simulator.enabled=true --values tests/e2e/accounts.yaml";

#[test]
fn the_whole_life_of_a_subscription() -> Result<()> {
    let mut story = Story::new(Narrator::new(), INSTALL_FLAGS)?;
    let told = story.tell();
    dump::if_failed(&told, story.narrator, story::NAMESPACE, &mut story.simulator);
    told
}

#[test]
fn every_pod_is_restricted_and_only_the_operators_has_credentials() -> Result<()> {
    check("restricted", "", restricted::check)
}

#[test]
fn an_operator_killed_at_random_moments_of_registration_leaves_one_subscription() -> Result<()> {
    check("killed", "", killed::check)
}

#[test]
fn an_operator_outside_the_cluster_does_the_same_work() -> Result<()> {
    check("outside", "", outside::check)
}

#[test]
fn another_sink_is_taken_up_within_ten_seconds_and_without_a_restart() -> Result<()> {
    check("reload", "", reload::check)
}

#[test]
fn rolling_the_receivers_image_while_deliveries_flow_loses_none() -> Result<()> {
    check("rolled", "", rolled::check)
}

#[test]
fn rotating_the_key_under_load_refuses_nothing() -> Result<()> {
    check("rotated", "", rotated::check)
}

#[test]
fn the_status_counts_conflicts_and_what_was_refused() -> Result<()> {
    check("counted", "", counted::check)
}

#[test]
fn a_full_journal_is_a_condition_within_a_minute_and_heals_by_itself() -> Result<()> {
    check("full", full::SPEC, full::check)
}

#[test]
fn what_is_wrong_at_the_edge_is_said_and_mended_is_noticed() -> Result<()> {
    check("diagnosed", "", diagnosed::check)
}

#[test]
fn a_leader_that_is_lost_with_its_pod_is_replaced() -> Result<()> {
    check("leader", leader::SPEC, leader::check)
}

#[test]
fn a_namespace_deleted_while_linktree_is_down_ends_at_its_deadline() -> Result<()> {
    check("abandoned", abandoned::SPEC, abandoned::check)
}

/// Runs a check in a namespace, and with a Linktree account, of its own. `more` ends the webhook's spec.
fn check(name: &str, more: &str, check: fn(&mut Place) -> Result<()>) -> Result<()> {
    let narrator = Narrator::new();
    install(narrator)?;
    let mut place = Place::new(narrator, name, more)?;
    let checked = place.become_ready().and_then(|()| check(&mut place));
    dump::if_failed(&checked, narrator, name, &mut place.simulator);
    checked
}

/// One test after another: Helm does not take two upgrades of a release at the same time.
fn install(narrator: Narrator) -> Result<()> {
    let place = env::var_os("LINKTREE_CLUSTER_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let lock = File::create(place.join("e2e.lock"))?;
    lock.lock()?;
    story::begin::install(narrator, INSTALL_FLAGS)
}

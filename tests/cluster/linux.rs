//! The launcher, on Linux only.

pub mod cli;
mod control_plane;
mod interrupt;
mod kubeconfig;
mod lifecycle;
mod manifests;
mod network;
mod node;
mod node_config;
mod pki;
mod process;
mod starter;
mod state;
mod sweep;
mod teardown;
mod tools;
mod wait;

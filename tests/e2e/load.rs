//! Load: changes to a Linktree page until stopped, one delivery each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use crate::simulator::Simulator;

/// The pause between two changes.
const PACE: Duration = Duration::from_millis(50);
/// Fewer changes than the simulator keeps deliveries.
const CHANGES_MAX: usize = 900;

/// A thread that changes one link.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<String>>>,
}

impl Load {
    /// Creates a link for this account and starts to change it.
    ///
    /// # Errors
    /// If the simulator is unreachable.
    pub fn start(account: &str) -> Result<Self> {
        let mut simulator = Simulator::new()?;
        let link = json!({"account": account, "title": "Load", "url": "https://load.example/"});
        let created = simulator.post("/links", &link)?;
        let path = format!("/links/{}", created["data"]["link_id"].as_str().context("the response has no link_id")?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut ids = Vec::new();
            while !stopped.load(Ordering::Relaxed) && ids.len() < CHANGES_MAX {
                let answer = simulator.patch(&path, &json!({"title": format!("Load {}", ids.len())}))?;
                let id = answer["deliveries"][0]
                    .as_str()
                    .with_context(|| format!("the change caused no delivery: {answer}"))?;
                ids.push(id.to_owned());
                thread::sleep(PACE);
            }
            Ok(ids)
        });
        Ok(Load { stop, thread })
    }

    /// Stops, and returns the ids of all deliveries.
    ///
    /// # Errors
    /// If a change failed.
    pub fn stop(self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load's thread panicked"))?
    }
}

//! Changes on a Linktree page that go on until they are stopped: each is a delivery.

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

/// Between two changes.
const PACE: Duration = Duration::from_millis(50);
/// At most so many, fewer than the simulator remembers the deliveries of.
const CHANGES_MAX: usize = 900;

#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<String>>>,
}

impl Load {
    /// Starts changing a new link of this account.
    ///
    /// # Errors
    /// When there is no way to the simulator.
    pub fn start(account: &str) -> Result<Self> {
        let mut simulator = Simulator::new()?;
        let link = json!({"account": account, "title": "Load", "url": "https://load.example/"});
        let created = simulator.post("/links", &link)?;
        let path = format!("/links/{}", created["data"]["link_id"].as_str().context("a link has an id")?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut ids = Vec::new();
            while !stopped.load(Ordering::Relaxed) && ids.len() < CHANGES_MAX {
                let answer = simulator.patch(&path, &json!({"title": format!("Load {}", ids.len())}))?;
                let id = answer["deliveries"][0].as_str().with_context(|| format!("nobody is told: {answer}"))?;
                ids.push(id.to_owned());
                thread::sleep(PACE);
            }
            Ok(ids)
        });
        Ok(Load { stop, thread })
    }

    /// Stops, and returns the ids of all its deliveries.
    ///
    /// # Errors
    /// When a change could not be made.
    pub fn stop(self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load's thread panicked"))?
    }
}

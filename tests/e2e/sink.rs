//! The log of an event sink: the proof that an event arrived.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{call::kubectl, wait};

/// One deployment of the event sink. Keeps its log lines, since a pod's log is lost with the pod.
#[derive(Debug)]
pub struct Sink {
    namespace: String,
    app: String,
    /// The lines, by the event's id.
    lines: BTreeMap<String, String>,
}

impl Sink {
    pub fn new(namespace: &str, app: &str) -> Self {
        Sink { namespace: namespace.to_owned(), app: app.to_owned(), lines: BTreeMap::new() }
    }

    /// Reads the logs of the pods, and returns all lines so far, by the event's id.
    ///
    /// # Errors
    /// If the logs cannot be read.
    pub fn read(&mut self) -> Result<&BTreeMap<String, String>> {
        let call = format!("--namespace={} logs --selector=app={} --tail=-1", self.namespace, self.app);
        for line in kubectl(&call).output()?.lines() {
            // `time type id body`
            if let Some(id) = line.split(' ').nth(2) {
                self.lines.insert(id.to_owned(), line.to_owned());
            }
        }
        Ok(&self.lines)
    }

    /// Waits until all these events have arrived, and returns their lines in the order of `ids`.
    ///
    /// # Errors
    /// If events are missing at the deadline; the error lists them.
    pub fn wait_for(&mut self, ids: &[String], seconds: u64) -> Result<Vec<String>> {
        let missing = |lines: &BTreeMap<String, String>| {
            ids.iter().filter(|id| !lines.contains_key(*id)).cloned().collect::<Vec<_>>()
        };
        let mut last = ids.to_vec();
        wait::until("all events are in the sink's log", seconds, || {
            last = missing(self.read()?);
            Ok(last.is_empty().then_some(()))
        })
        .map_err(|error| error.context(format!("events missing at the sink: {}", last.join(", "))))?;
        Ok(ids.iter().filter_map(|id| self.lines.get(id).cloned()).collect())
    }
}

//! The log of calls to the API. It contains accounts, but no tokens.

use std::collections::VecDeque;

use jiff::Timestamp;

/// Maximum number of calls in the log; older ones are dropped.
pub const CALLS_MAX: usize = 10_000;
/// The longest path in the log, in characters; a longer one is cut.
const PATH_MAX: usize = 256;

#[derive(Clone, Debug)]
pub struct Call {
    pub at: Timestamp,
    pub method: String,
    /// Path and query of the call's URL.
    pub path: String,
    /// The status of the response; `None` if the connection was dropped.
    pub status: Option<u16>,
    /// The id of the account that the call's token belongs to.
    pub account: Option<String>,
    /// The name of the injected fault.
    pub fault: Option<&'static str>,
}

#[derive(Debug, Default)]
pub struct CallLog {
    calls: VecDeque<Call>,
    dropped: u64,
}

impl CallLog {
    pub fn add(&mut self, mut call: Call) {
        if self.calls.len() >= CALLS_MAX {
            self.calls.pop_front();
            self.dropped += 1;
        }
        if let Some((end, _)) = call.path.char_indices().nth(PATH_MAX) {
            call.path.truncate(end);
        }
        self.calls.push_back(call);
    }

    /// The calls after this number, oldest first. They are numbered from 1.
    pub fn since(&self, number: u64) -> impl Iterator<Item = (u64, &Call)> {
        (self.dropped + 1..).zip(&self.calls).filter(move |(its, _)| *its > number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_its_numbers_continue() {
        let mut log = CallLog::default();
        for n in 0..CALLS_MAX + 5 {
            let path = format!("/{n}{}", "é".repeat(PATH_MAX));
            let (at, method) = (Timestamp::UNIX_EPOCH, "GET".to_owned());
            log.add(Call { at, method, path, status: Some(200), account: None, fault: None });
        }
        let kept: Vec<_> = log.since(0).map(|(number, _)| number).collect();
        assert_eq!((kept.len(), kept[0], kept.last()), (CALLS_MAX, 6, Some(&(CALLS_MAX as u64 + 5))));
        let (number, newest) = log.since(CALLS_MAX as u64 + 4).next().unwrap();
        assert_eq!((number, newest.path.chars().count()), (CALLS_MAX as u64 + 5, PATH_MAX));
    }
}

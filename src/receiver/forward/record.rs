//! The outcomes that the journal does not have yet. A sink's position advances over new events in the order of arrival,
//! so the outcome of one that overtook others waits here until those have an outcome too. Pure.

use std::{collections::BTreeMap, time::Instant};

use crate::receiver::journal::{Outcome, Position, Settlement};

/// The outcomes on their way to the journal.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The sink's position once all outcomes that were handed over are recorded.
    position: Position,
    /// Outcomes of new events after the position.
    overtaking: BTreeMap<Position, Outcome>,
    /// Outcomes that can be recorded, in the order of the attempts.
    ready: Vec<Settlement>,
    /// When the oldest outcome of `overtaking` and `ready` was added.
    since: Option<Instant>,
    /// The outcomes that the journal is recording.
    recording: Vec<Settlement>,
}

impl Record {
    /// Sets the sink's position in the journal, at the start.
    pub(super) fn start(&mut self, position: Position) {
        self.position = self.position.max(position);
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Adds the outcome of an event; it replaces an earlier one that was not handed over.
    pub(super) fn add(&mut self, position: Position, outcome: Outcome, now: Instant) {
        self.since.get_or_insert(now);
        if position > self.position {
            self.overtaking.insert(position, outcome);
        } else {
            self.ready.push(Settlement { position, outcome });
        }
    }

    /// Advances the position to the last event before `end`: all new events before it have an outcome.
    pub(super) fn advance(&mut self, end: Position) {
        let later = self.overtaking.split_off(&end);
        for (position, outcome) in std::mem::replace(&mut self.overtaking, later) {
            self.position = position;
            self.ready.push(Settlement { position, outcome });
        }
    }

    /// Whether there is an outcome of this event that the journal does not have yet.
    pub(super) fn has(&self, position: Position) -> bool {
        let mut both = self.ready.iter().chain(&self.recording);
        self.overtaking.contains_key(&position) || both.any(|settled| settled.position == position)
    }

    /// The number of outcomes that can be recorded.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The number of outcomes that the journal does not have yet.
    pub(super) fn len(&self) -> usize {
        self.overtaking.len() + self.ready.len() + self.recording.len()
    }

    /// When the oldest outcome was added that is not being recorded.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Lets the outcomes wait on, because none of them can be recorded.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Whether outcomes were handed over that are not recorded yet.
    pub(super) fn is_recording(&self) -> bool {
        !self.recording.is_empty()
    }

    /// The last new event with an outcome that was not handed over.
    pub(super) fn last(&self) -> Option<Position> {
        self.overtaking.last_key_value().map(|(position, _)| *position)
    }

    /// Hands over the outcomes that can be recorded; the same ones again until [`Record::recorded`].
    pub(super) fn take(&mut self, now: Instant) -> Vec<Settlement> {
        if self.recording.is_empty() {
            self.since = (!self.overtaking.is_empty()).then_some(now);
            self.recording = std::mem::take(&mut self.ready);
        }
        self.recording.clone()
    }

    /// Records that the journal has the outcomes that were handed over last.
    pub(super) fn recorded(&mut self) {
        self.recording.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, receiver::journal::tries::Tries};

    const DONE: Outcome = Outcome::Done;

    fn positions(settlements: &[Settlement]) -> Vec<Position> {
        settlements.iter().map(|settled| settled.position).collect()
    }

    #[test]
    fn the_position_advances_over_events_with_an_outcome_only() {
        let (mut record, now) = (Record::default(), clock::monotonic());
        record.start(10);
        record.add(12, DONE, now);
        record.add(7, DONE, now);
        record.advance(11);
        assert_eq!(positions(&record.take(now)), [7], "a retry is recorded at once, 12 waits for 11");
        record.recorded();
        assert!(record.has(12) && !record.has(7) && record.since().is_some());
        record.add(11, DONE, now);
        record.advance(13);
        assert_eq!((positions(&record.take(now)), record.position()), (vec![11, 12], 12));
        assert!(record.has(12), "until the journal has it");
        record.recorded();
        assert!(!record.has(12) && record.len() == 0 && record.since().is_none());
    }

    #[test]
    fn a_later_outcome_replaces_one_that_waits_and_follows_one_that_was_handed_over() {
        let (mut record, now) = (Record::default(), clock::monotonic());
        let parked = Outcome::Retry { tries: Tries::default(), due_at: 5 };
        record.add(1, parked.clone(), now);
        record.add(1, DONE, now);
        record.add(2, parked.clone(), now);
        record.advance(3);
        let both = [Settlement { position: 1, outcome: DONE }, Settlement { position: 2, outcome: parked }];
        assert_eq!(record.take(now), both);
        record.add(2, DONE, now);
        record.recorded();
        assert_eq!(record.take(now), [Settlement { position: 2, outcome: DONE }]);
    }
}

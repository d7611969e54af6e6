//! Expiry while the wall clock jumps, in a process and across restarts.

use super::*;
use crate::receiver::journal::sqlite::clock_jumps::JUMPS_MAX;

const HOUR: u64 = 3600;
/// 56 years.
const YEARS: i64 = 56 * 365 * 86_400;

/// A journal and the clocks of its node.
struct Node {
    journal: Journal,
    booted: Instant,
    /// Seconds that the monotonic clock has counted.
    elapsed: u64,
    /// The wall clock when the monotonic one showed 0.
    wall: i64,
}

impl Node {
    /// A node whose wall clock shows `wall`, with a journal of three events.
    fn new(wall: i64) -> Self {
        let mut node = Node { journal: Journal::new(), booted: clock::monotonic(), elapsed: 0, wall };
        node.restart();
        node
    }

    fn at(&self) -> Instant {
        self.booted + Duration::from_secs(self.elapsed)
    }

    fn restart(&mut self) {
        let wall = self.wall + self.elapsed as i64;
        self.journal.expiry = Expiry::load_at(&self.journal.connection, wall, self.at()).unwrap();
    }

    fn now(&mut self) -> i64 {
        let (wall, at) = (self.wall + self.elapsed as i64, self.at());
        self.journal.expiry.clock.read(wall, at).now
    }

    /// Runs for `seconds`, with a pass every minute. Returns the events that are left.
    fn run(&mut self, seconds: u64) -> Vec<Position> {
        let until = self.elapsed + seconds;
        while self.elapsed < until {
            self.elapsed = until.min(self.elapsed + 60);
            let now = self.now();
            self.journal.pass(now, self.at());
        }
        self.journal.events()
    }

    /// Settles the event at both sinks, without a retry.
    fn settle(&mut self, position: Position) {
        let now = self.now();
        self.journal.settle("a", position, Outcome::Done, now);
        self.journal.settle("b", position, Outcome::Done, now);
    }

    /// Both sinks have settled the second event, `a` the first, which is a dead letter of `b`, and the last one was
    /// settled after a retry.
    fn settle_all(&mut self) {
        let now = self.now();
        self.journal.settle("b", 3, Outcome::Retry { tries: Tries::default(), due_at: 0 }, now);
        self.settle(3);
        self.journal.settle("b", 1, dead_letter(now), now);
    }
}

#[test]
fn a_backlog_of_a_receiver_that_was_down_for_long_expires_a_whole_retention_after_it_is_delivered() {
    let mut node = Node::new(NOW);
    node.settle(1);
    node.run(HOUR);
    node.wall += 2 * WEEK;
    node.restart();
    node.run(600);
    node.settle(3);
    assert_eq!(node.run(HOUR / 2), [1, 2, 3]);
    // Another restart while the clock is still in doubt.
    node.restart();
    assert_eq!(node.run(2 * HOUR), [2, 3], "the first one was settled before");
    assert_eq!(node.run(WEEK as u64 - 3 * HOUR), [2, 3]);
    assert!(node.run(HOUR).is_empty());
}

#[test]
fn nothing_that_was_settled_in_1970_is_56_years_old() {
    for restarts in [false, true] {
        let mut node = Node::new(NOW);
        node.run(HOUR);
        node.wall -= YEARS;
        node.restart();
        node.run(600);
        node.settle_all();
        node.run(2 * HOUR);
        node.wall += YEARS + 3 * WEEK;
        if restarts {
            node.restart();
        }
        assert_eq!(node.run(3 * HOUR), [1, 2, 3]);
        assert_eq!(node.run(WEEK as u64 - 6 * HOUR), [1, 2, 3]);
        assert_eq!(node.run(2 * HOUR), [1], "the dead letter stays");
        assert_eq!(node.run((MONTH - WEEK) as u64 - 2 * HOUR), [1]);
        assert!(node.run(2 * HOUR).is_empty());
    }
}

#[test]
fn a_new_journal_whose_clock_starts_in_1970_expires_nothing_too_early() {
    let mut node = Node::new(1000);
    node.settle_all();
    node.run(HOUR);
    node.wall += YEARS;
    assert_eq!(node.run(WEEK as u64 - 2 * HOUR), [1, 2, 3]);
    assert_eq!(node.run(2 * HOUR), [1]);
}

#[test]
fn a_clock_that_jumps_ahead_expires_nothing_before_it_has_stood_there_for_an_hour() {
    let mut node = Node::new(NOW);
    node.settle_all();
    node.run(HOUR);
    node.wall += 2 * MONTH;
    node.restart();
    assert_eq!(node.run(HOUR - 120), [1, 2, 3]);
    assert!(node.run(300).is_empty());
}

#[test]
fn a_jump_that_is_taken_back_changes_nothing() {
    let mut node = Node::new(NOW);
    node.settle_all();
    node.run(HOUR);
    node.wall += 2 * MONTH;
    node.run(HOUR / 2);
    node.wall -= 2 * MONTH;
    assert_eq!(node.run(WEEK as u64 - 2 * HOUR), [1, 2, 3]);
    assert_eq!(node.run(2 * HOUR), [1]);
}

#[test]
fn a_jump_is_believed_whatever_number_of_expired_ones_came_before() {
    let mut node = Node::new(NOW);
    let mut jumps = Jumps::default();
    let long_ago = NOW - 10 * MONTH;
    let expired = |n: i64| Jump { since: long_ago + 10 * n, until: long_ago + 10 * n + 1, seconds: 5 };
    (0..JUMPS_MAX as i64).for_each(|n| jumps.push(expired(n)));
    assert!(!jumps.has_room());
    jumps.save(&node.journal.connection).unwrap();
    node.restart();
    node.settle_all();
    node.run(HOUR);
    node.wall += 2 * MONTH;
    node.restart();
    assert!(node.run(HOUR + 300).is_empty());
}

#[test]
fn the_list_of_given_up_events_ages_by_a_jump_as_events_do() {
    let mut node = Node::new(NOW);
    let listed = |node: &Node| {
        let listed = "SELECT count(*) FROM dropped";
        node.journal.connection.query_row(listed, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    node.run(HOUR);
    let list = "INSERT INTO dropped (event, sink, name, at) VALUES (1, 'a', 'd', ?1)";
    let now = node.now();
    node.journal.connection.execute(list, [now]).unwrap();
    node.wall += YEARS;
    node.restart();
    node.run(HOUR - 120);
    assert_eq!(listed(&node), 1, "the clock is in doubt");
    node.run(300);
    assert_eq!(listed(&node), 0);
    // An event that is given up while the clock is in doubt is not older than that.
    node.wall -= YEARS;
    node.restart();
    node.run(600);
    let now = node.now();
    node.journal.connection.execute(list, [now]).unwrap();
    node.wall += YEARS + 2 * WEEK;
    node.run(3 * HOUR);
    assert_eq!(listed(&node), 1, "it was listed three hours ago");
    node.run(WEEK as u64);
    assert_eq!(listed(&node), 0);
}

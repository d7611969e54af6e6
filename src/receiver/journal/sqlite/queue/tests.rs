//! Shares of a commit, bounds, and the end of the queue.

use std::thread;

use bytes::Bytes;

use super::*;
use crate::linktree::{headers::SentAt, secret::Secret, signature::Signature};

const LIMITS: Limits = Limits { requests: 8, pages: 100 };

fn append(body_bytes: usize) -> Work {
    let sent_at = SentAt::from_seconds(1_700_000_000).unwrap();
    let signature = Signature::sign(&Secret::new("s3cret"), &sent_at, b"{}");
    Work::Append(Event::new(None, &signature, &sent_at, "k1", Bytes::from(vec![0; body_bytes]), sent_at.seconds()))
}

fn settle(settlements: usize) -> Work {
    let settlement = Settlement { position: 1, outcome: crate::receiver::journal::Outcome::Done };
    Work::Settle { sink: "cms".into(), settlements: vec![settlement; settlements] }
}

fn push(requests: &Requests, work: Work) -> Result<(), JournalError> {
    requests.push(Request { work, answer: oneshot::channel().0 })
}

/// The next batch: an `a` for each append, an `s` for each settlement.
fn taken(waiting: &Waiting, limits: Limits) -> String {
    let kind = |request: &Request| match request.work {
        Work::Append(_) => 'a',
        Work::Settle { .. } | Work::Configure(_) | Work::Redrive(_) => 's',
    };
    waiting.take(limits).requests.iter().map(kind).collect()
}

#[test]
fn while_both_kinds_wait_each_has_half_of_a_commit() {
    let (requests, waiting) = queue();
    for _ in 0..20 {
        push(&requests, append(10)).unwrap();
        push(&requests, settle(1)).unwrap();
    }
    assert_eq!(taken(&waiting, LIMITS), "ssssaaaa");
    assert_eq!(taken(&waiting, LIMITS), "aaaassss");
}

#[test]
fn one_kind_alone_has_all_of_it() {
    let (requests, waiting) = queue();
    for _ in 0..20 {
        push(&requests, append(10)).unwrap();
    }
    assert_eq!(
        [taken(&waiting, LIMITS), taken(&waiting, LIMITS), taken(&waiting, LIMITS)],
        ["aaaaaaaa", "aaaaaaaa", "aaaa"]
    );
    assert_eq!(taken(&waiting, LIMITS), "");
}

#[test]
fn a_request_larger_than_a_commit_is_taken_alone_and_the_other_kind_has_its_turn() {
    let (requests, waiting) = queue();
    for _ in 0..2 {
        push(&requests, settle(1000)).unwrap();
        push(&requests, append(10 << 20)).unwrap();
    }
    let batches: Vec<_> = (0..4).map(|_| taken(&waiting, LIMITS)).collect();
    assert_eq!(batches, ["s", "a", "s", "a"]);
}

#[test]
fn settlements_are_queued_and_taken_while_the_queue_of_appends_is_full() {
    let (requests, waiting) = queue();
    while push(&requests, append(10)).is_ok() {}
    assert_eq!(push(&requests, append(10)), Err(JournalError::Overloaded));
    for _ in 0..10 {
        push(&requests, settle(1)).unwrap();
        while push(&requests, append(10)).is_ok() {}
        let batches = [taken(&waiting, LIMITS), taken(&waiting, LIMITS)];
        assert!(batches.concat().contains('s'), "{batches:?}");
    }
    while push(&requests, settle(1)).is_ok() {}
    assert_eq!(push(&requests, settle(1)), Err(JournalError::Overloaded));
}

#[test]
fn a_wait_ends_with_a_request_or_its_timeout() {
    let (requests, waiting) = queue();
    assert!(matches!(waiting.wait(Duration::from_millis(1)), Found::Nothing));
    let thread = thread::spawn(move || {
        let found = waiting.wait(Duration::from_secs(60));
        (found, waiting)
    });
    push(&requests, append(10)).unwrap();
    let (found, waiting) = thread.join().unwrap();
    assert!(matches!(found, Found::Requests));
    drop(waiting);
    assert_eq!(push(&requests, append(10)), Err(JournalError::Closed));
}

#[test]
fn a_closed_queue_is_emptied_first() {
    let (requests, waiting) = queue();
    push(&requests, append(10)).unwrap();
    let (answer, mut answered) = oneshot::channel();
    requests.close(answer).unwrap();
    assert_eq!(push(&requests, settle(1)), Err(JournalError::Closed));
    assert!(matches!(waiting.wait(Duration::ZERO), Found::Requests));
    assert_eq!(taken(&waiting, LIMITS), "a");
    let Found::End(Some(answer)) = waiting.wait(Duration::ZERO) else { panic!() };
    answer.send(Ok(None)).unwrap();
    assert_eq!(answered.try_recv(), Ok(Ok(None)));
    let (requests, waiting) = queue();
    drop(requests);
    assert!(matches!(waiting.wait(Duration::from_secs(60)), Found::End(None)));
}

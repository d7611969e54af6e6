//! Requests that are accepted or rejected.

use super::*;

fn check(request: &str) -> Result<Vec<(Wanted, String)>, u16> {
    let request = serde_json::from_str(request).unwrap();
    let plan = plan(request, &["cms", "chat"]).map_err(|(status, _)| status.as_u16())?;
    Ok(plan.choices.into_iter().map(|Choice { wanted, target }| (wanted, target)).collect())
}

fn dead(sink: &str, target: &str) -> (Wanted, String) {
    (Wanted::Source(Source::DeadLetters { sink: sink.into() }), target.into())
}

#[test]
fn each_selection_has_its_target() {
    for (request, expected) in [
        (r#"{"id": "r", "select": {"deadLetters": {"sink": "cms"}}}"#, vec![dead("cms", "cms")]),
        (r#"{"id": "r", "select": {"deadLetters": {"sink": "old"}}, "targetSink": "cms"}"#, vec![dead("old", "cms")]),
        (r#"{"id": "r", "select": {"deadLetters": {}}}"#, vec![dead("cms", "cms"), dead("chat", "chat")]),
        (r#"{"id": "r", "select": {"deadLetters": {"sink": "*"}}}"#, vec![dead("cms", "cms"), dead("chat", "chat")]),
        (
            r#"{"id": "r", "select": {"event": {"position": 7}}, "targetSink": "cms"}"#,
            vec![(Wanted::Position(7), "cms".into())],
        ),
        (
            r#"{"id": "r", "select": {"received": {"fromTime": 1, "toTime": 2}}, "targetSink": "cms"}"#,
            vec![(Wanted::Source(Source::Received { from: 1, to: 2 }), "cms".into())],
        ),
    ] {
        assert_eq!(check(request), Ok(expected), "{request}");
    }
}

#[test]
fn a_wrong_request_is_rejected_with_the_reason() {
    for (request, status) in [
        (r#"{"id": "", "select": {"deadLetters": {}}}"#, 400),
        (r#"{"id": "a\nb", "select": {"deadLetters": {}}}"#, 400),
        (r#"{"id": "r", "select": {"deadLetters": {}}, "maxPerSecond": 0}"#, 400),
        (r#"{"id": "r", "select": {"deadLetters": {}}, "maxPerSecond": 251}"#, 400),
        (r#"{"id": "r", "select": {"deadLetters": {}}, "targetSink": "cms"}"#, 400),
        (r#"{"id": "r", "select": {"deadLetters": {"sink": "old"}}}"#, 404),
        (r#"{"id": "r", "select": {"deadLetters": {"sink": "cms"}}, "targetSink": "old"}"#, 404),
        (r#"{"id": "r", "select": {"event": {"position": 7}}}"#, 400),
        (r#"{"id": "r", "select": {"event": {"deliveryId": "d"}}}"#, 400),
        (r#"{"id": "r", "select": {"received": {"fromTime": 1, "toTime": 2}}}"#, 400),
        (r#"{"id": "r", "select": {"received": {"fromTime": 2, "toTime": 2}}, "targetSink": "cms"}"#, 400),
    ] {
        assert_eq!(check(request), Err(status), "{request}");
    }
    let request = serde_json::from_str(r#"{"id": "r", "select": {"deadLetters": {}}}"#).unwrap();
    assert_eq!(plan(request, &[]).unwrap_err(), (StatusCode::NOT_FOUND, "the webhook has no sinks".to_owned()));
}

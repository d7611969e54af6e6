//! The sinks of examples/use-cases transform events into the requests that the target APIs expect.

use bytes::Bytes;
use linktree_operator::{
    api::{sink, webhook::LinktreeWebhook},
    linktree::event::EventType,
    receiver::{
        journal::{Pending, tries::Tries},
        sink::cloudevent,
    },
    route::{TemplateSource, filter::Filter, success::SuccessCondition, template::Template},
};
use serde_json::{Value, json};

/// The first sink of an example.
fn first_sink(example: &str) -> sink::Sink {
    let file = format!("{}/examples/use-cases/{example}.yaml", env!("CARGO_MANIFEST_DIR"));
    let webhook: LinktreeWebhook = serde_yaml_ng::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    webhook.spec.sinks.into_iter().next().unwrap()
}

/// The event as filters and templates see it.
fn event(event_type: &str, data: &Value) -> Value {
    let body = json!({"type": event_type, "data": data, "timestamp": 1_700_000_000}).to_string();
    let pending = Pending {
        position: 1,
        tries: Tries::default(),
        id: "dlv_1".into(),
        event_type: EventType::named(event_type),
        sent_at: 1_700_000_000,
        body: Bytes::from(body),
        replayed: false,
    };
    cloudevent::view(&pending).unwrap()
}

/// The body that an example's first sink receives for an event.
fn sent(example: &str, event_type: &str, data: &Value) -> Value {
    let sink::Template { body, content_type, headers } = first_sink(example).template.unwrap();
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    let template = Template::compile(&TemplateSource { body, content_type, headers }).unwrap();
    serde_json::from_str(&template.render(event(event_type, data)).unwrap()).unwrap()
}

fn link() -> Value {
    json!({"link_id": "lnk_1", "title": "\"Sale\" <b>now</b>", "url": "https://shop.example/?a=1&b=2", "position": 3})
}

#[test]
fn a_link_is_created_or_deleted_in_the_cms() {
    let mut expected = json!({"mutations": [{"createOrReplace": {
        "_id": "linktree-lnk_1", "_type": "link", "title": "\"Sale\" now", "url": "https://shop.example/?a=1&b=2",
        "position": 3, "thumbnail": null,
    }}]});
    assert_eq!(sent("cms", "link.created", &link()), expected);
    let mut changed = link();
    changed["thumbnail_url"] = "https://img.example/1.png".into();
    expected["mutations"][0]["createOrReplace"]["thumbnail"] = "https://img.example/1.png".into();
    assert_eq!(sent("cms", "link.updated", &changed), expected);
    let deleted = sent("cms", "link.deleted", &json!({"link_id": "lnk_1", "deleted_at": 1_700_000_000}));
    assert_eq!(deleted, json!({"mutations": [{"delete": {"id": "linktree-lnk_1"}}]}));
}

#[test]
fn a_milestone_is_posted_to_the_channel_once_it_is_reached() {
    let milestone = |value: u64| json!({"link_id": "lnk_1", "metric": "clicks", "value": value, "threshold": 1000});
    let message = sent("slack", "analytics.milestone", &milestone(1000));
    assert_eq!(message["channel"], "#marketing");
    assert_eq!(message["blocks"][0]["text"]["text"], "🎉 clicks of link lnk_1 reached 1000");
    let filter = Filter::compile(&first_sink("slack").filter.unwrap()).unwrap();
    let wants = |value| filter.wants(&event("analytics.milestone", &milestone(value)));
    assert_eq!((wants(999), wants(1000)), (Ok(false), Ok(true)));
}

#[test]
fn a_message_is_posted_only_if_the_chat_says_so() {
    for (example, accepted, rejected) in [
        ("slack", r#"{"ok":true,"channel":"C1"}"#, r#"{"ok":false,"error":"not_in_channel"}"#),
        ("teams", "1", "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429"),
    ] {
        let source = first_sink(example).http.unwrap().success_condition.unwrap();
        let condition = SuccessCondition::compile(&source).unwrap();
        assert_eq!(condition.check(200, accepted.as_bytes()), Ok(()), "{example}");
        assert!(condition.check(200, rejected.as_bytes()).is_err(), "{example}");
    }
}

#[test]
fn a_new_link_is_a_card_in_teams() {
    let message = sent("teams", "link.created", &link());
    let card = &message["attachments"][0]["content"];
    assert_eq!(card["body"][0]["inlines"][0]["text"], "\"Sale\" now");
    assert_eq!(card["actions"][0]["url"], "https://shop.example/?a=1&b=2");
}

#[test]
fn a_new_link_is_posted_to_discord_without_mentions() {
    let message = sent("discord", "link.created", &link());
    assert_eq!(message["allowed_mentions"], json!({"parse": []}));
    assert_eq!(message["embeds"], json!([{"title": "\"Sale\" now", "url": "https://shop.example/?a=1&b=2"}]));
}

#[test]
fn any_event_is_an_entry_of_the_audit_log() {
    let profile = json!({"username": "brand", "bio": "hi", "avatar_url": "", "theme": "dark"});
    let entry = sent("api", "profile.updated", &profile);
    assert_eq!(
        entry,
        json!({
            "entry": "dlv_1", "at": "2023-11-14T22:13:20Z", "what": "profile.updated", "object": "brand", "detail": profile,
        })
    );
}

//! Tests of templates: compilation, error messages, and escaping of hostile values.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::linktree::json as lenient;

fn source(content_type: &str, body: &str) -> TemplateSource {
    TemplateSource { body: body.into(), content_type: content_type.into(), headers: BTreeMap::new() }
}

fn render(body: &str, data: &Value) -> Result<String, String> {
    let event = json!({"id": "dlv_1", "type": "link.created", "data": data});
    Template::compile(&source("application/json", body)).unwrap().render(event)
}

#[test]
fn a_value_in_json_is_escaped_for_its_position() {
    let title = json!({"title": "say \"hi\" \\ \n", "position": 3, "tags": ["a", "\""], "nothing": null});
    for (body, expected) in [
        (r#"{"t": "{{ event.data.title }}"}"#, r#"{"t": "say \"hi\" \\ \n"}"#),
        (r#"{"t": {{ event.data.title }}}"#, r#"{"t": "say \"hi\" \\ \n"}"#),
        (r#"{"t": "New: {{ event.data.title }}!"}"#, r#"{"t": "New: say \"hi\" \\ \n!"}"#),
        (r#"{"t": {{ event.data.title | tojson }}}"#, r#"{"t": "say \"hi\" \\ \n"}"#),
        (r#"{"p": {{ event.data.position }}, "s": "{{ event.data.position }}"}"#, r#"{"p": 3, "s": "3"}"#),
        (
            r#"{"l": {{ event.data.tags }}, "s": "{{ event.data.tags }}"}"#,
            r#"{"l": ["a","\""], "s": "[\"a\",\"\\\"\"]"}"#,
        ),
        (r#"{"n": {{ event.data.nothing }}, "q\"": "{{ event.id }}"}"#, r#"{"n": null, "q\"": "dlv_1"}"#),
        (r#"{"d": "{{ event.data.none | default("-") }}"}"#, r#"{"d": "-"}"#),
    ] {
        assert_eq!(render(body, &title).unwrap(), expected, "{body}");
    }
}

proptest! {
    #[test]
    fn a_title_changes_only_its_own_value(title in any::<String>()) {
        let body = r#"{"a": "x {{ event.data.t }} y", "b": {{ event.data.t }}, "admin": false}"#;
        let rendered: Value = serde_json::from_str(&render(body, &json!({"t": title})).unwrap()).unwrap();
        let clean = rendered["b"].as_str().unwrap().to_owned();
        prop_assert_eq!(rendered, json!({"a": format!("x {clean} y"), "b": clean, "admin": false}));
    }
}

#[test]
fn a_failed_rendering_is_an_error_without_any_value() {
    let data = || json!({"title": "s3cret", "url": "javascript:s3cret"});
    for (body, data, expected) in [
        ("{\n\"b\": {{ event.data.missing }} }", json!({}), "line 2: uses a field the event does not have"),
        (r#"{"t": "{{ event.data.title }}"}"#, data(), "data.url is not an http(s), mailto, tel or sms URL"),
        (r#"{"t": {{ event.id }} {{ event.id }}}"#, json!({}), "the rendered body is not JSON: line 1, column 15"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}1", json!({}), "takes too many"),
    ] {
        let problem = render(body, &data).unwrap_err();
        assert!(problem.contains(expected) && !problem.contains("s3cret"), "{body}: {problem}");
    }
}

#[test]
fn a_template_that_does_not_compile_is_rejected_with_its_field_and_line() {
    for (body, expected) in [
        ("{}\n{{ event.data.title ", "body does not compile: line 2:"),
        ("{% if %}", "body does not compile: line 1:"),
        ("{{ evnt.data.title }}", "body uses the unknown variable evnt"),
        ("{}\n{{ event.id | shout }}", "body does not compile: line 2: unknown filter shout"),
        ("{% if false %}\n{{ event.id | safe }}{% endif %}", "body does not compile: line 2: unknown filter safe"),
        ("{% if event.id is loud %}{% endif %}", "body does not compile: line 1: unknown test loud"),
        ("{% macro m(x) %}{{ x | shout }}{% endmacro %}", "body does not compile: line 1: unknown filter shout"),
        ("{% include 'x' %}", "body does not compile: line 1:"),
        ("\u{E000}", "body contains a character"),
    ] {
        let problem = Template::compile(&source("application/json", body)).unwrap_err().to_string();
        assert!(problem.starts_with(expected), "{body}: {problem}");
    }
}

#[test]
fn headers_are_set_except_reserved_ones() {
    let with = |name: &str, value: &str| {
        let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Template::compile(&TemplateSource { headers, ..source("application/json", "{}") })
    };
    let header = with("X-Api-Version", "2").unwrap();
    assert_eq!(
        (&header.header()["x-api-version"], &header.header()["content-type"]),
        (&"2".parse().unwrap(), &"application/json".parse().unwrap())
    );
    for name in
        ["Host", "authorization", "Content-Length", "ce-id", "webhook-signature", "Transfer-Encoding", "a b", ""]
    {
        assert_eq!(with(name, "x").unwrap_err().field, "headers", "{name}");
    }
    assert_eq!(with("x-a", "a\r\nb: c").unwrap_err().field, "headers");
    assert_eq!(Template::compile(&source("a\nb", "{}")).unwrap_err().field, "contentType");
}

#[test]
fn each_content_type_has_its_own_escaping() {
    let render = |content_type: &str, body: &str| {
        let event = json!({"data": {"title": "a & \"b\" = <3"}});
        Template::compile(&source(content_type, body)).unwrap().render(event).unwrap()
    };
    assert_eq!(render("application/x-www-form-urlencoded", "t={{ event.data.title }}"), "t=a+%26+%22b%22+%3D+%3C3");
    assert_eq!(render("text/html; charset=utf-8", "{{ event.data.title }}"), "a &amp; &quot;b&quot; = &lt;3");
    assert_eq!(render("text/plain", "{{ event.data.title }}"), "a & \"b\" = <3");
    assert_eq!(render("application/problem+json", "\"{{ event.data.title }}\""), r#""a & \"b\" = <3""#);
}

#[test]
fn a_number_beyond_64_bits_is_rendered_as_written() {
    let event = || lenient::read(br#"{"data": {"n": 1E999, "id": 123456789012345678901, "l": ["1E999"]}}"#).unwrap();
    for (content_type, body, expected) in [
        ("application/json", r#"{"n": {{ event.data.n }}}"#, r#"{"n": 1E999}"#),
        ("application/json", r#"{"n": "no {{ event.data.id }}!"}"#, r#"{"n": "no 123456789012345678901!"}"#),
        ("application/json", r#"{{ event.data }}"#, r#"{"id":123456789012345678901,"l":["1E999"],"n":1E999}"#),
        ("application/json", r#"{{ event.data.n | tojson }}"#, "1E999"),
        ("application/json", r#"{{ event.data.n ~ "x" }}"#, r#""1E999x""#),
        ("text/plain", "{{ event.data.n }}", "1E999"),
        ("application/xml", "<n>{{ event.data.id }}</n>", "<n>123456789012345678901</n>"),
        ("application/x-www-form-urlencoded", "n={{ event.data.id }}", "n=123456789012345678901"),
    ] {
        let template = Template::compile(&source(content_type, body)).unwrap();
        assert_eq!(template.render(event()).unwrap(), expected, "{content_type}: {body}");
    }
}

#[test]
fn xml_contains_no_character_that_it_cannot_hold() {
    let event = || json!({"data": {"title": "a\u{0}b\u{1b}c\u{ffff}d\te\u{10ffff}"}});
    for content_type in ["application/xml", "text/xml", "application/atom+xml", "text/html"] {
        for body in ["<t>{{ event.data.title }}</t>", "<t>{{ event.data.title | escape }}</t>"] {
            let rendered = Template::compile(&source(content_type, body)).unwrap().render(event()).unwrap();
            assert_eq!(rendered, "<t>a\u{fffd}b\u{fffd}c\u{fffd}d\te\u{10ffff}</t>", "{content_type}");
        }
    }
    let text = Template::compile(&source("text/plain", "{{ event.data.title }}")).unwrap().render(event()).unwrap();
    assert_eq!(text, event()["data"]["title"], "plain text can hold them");
}

#[test]
fn a_hostile_template_overflows_no_stack() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
        ("", "+1"),
        ("not ", ""),
        ("-", ""),
        ("", ".a"),
        ("", "[0]"),
        ("", "|upper"),
        ("range(", ")"),
        ("1 if 1 else ", ""),
        ("", "~1"),
        ("", " and 1"),
        ("(", ""),
    ] {
        let times = 16_000 / (open.len() + close.len());
        let body = format!("{{{{ {}1{} }}}}", open.repeat(times), close.repeat(times));
        if let Ok(template) = Template::compile(&source("application/json", &body)) {
            let _ = template.render(json!({"data": {}}));
        }
    }
    for unit in ["{% if 1 %}", "{% for a in [1] %}", "{% set a %}", "{# #}", "{{ 1 }}"] {
        let _ = Template::compile(&source("application/json", &unit.repeat(1_000)));
    }
}

/// The engine counts the bytes of a text as steps before it makes the text.
#[test]
fn no_template_makes_more_than_some_megabytes_of_text() {
    let doubled = |next: &str| {
        format!(
            "{{% set n = namespace(t=event.id) %}}{{% for _ in range(40) %}}{{% set n.t = {next} %}}{{% endfor %}}1"
        )
    };
    for body in [
        "{{ event.id * 2700000 }}".to_owned(),
        "{{ (event.data.tags * 9000000) | length }}".to_owned(),
        "{{ range(90000000) | list | length }}".to_owned(),
        "{{ event.id | indent(90000000) }}".to_owned(),
        "{{ \"%90000000s\" | format(event.id) }}".to_owned(),
        "{{ event.data.tags | join(event.id * 2700000) }}".to_owned(),
        doubled("n.t ~ n.t"),
        doubled("n.t + n.t"),
        doubled("n.t * 2"),
        doubled("[n.t, n.t] | join"),
        doubled("n.t | replace('d', n.t)"),
        doubled("(n.t ~ n.t) | upper"),
        doubled("(n.t | tojson) ~ (n.t | tojson)"),
        doubled("[n.t, n.t]"),
    ] {
        let before = peak_memory_kib();
        let result = render(&body, &json!({"tags": ["a", "b"]}));
        let grown = peak_memory_kib() - before;
        assert!(grown < 32 * 1024, "{body}: {grown} KiB, {result:?}");
    }
}

/// The largest resident memory of this process so far.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

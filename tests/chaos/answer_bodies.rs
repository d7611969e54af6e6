//! Bodies of sinks' answers: what APIs send, and what a JSON reader meets in the wild, each with the value that
//! `JSON.parse` in Node reads; null if it reads none.

use std::time::Duration;

use serde_json::{Value, json};

use super::recorder::Step;

/// How the body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Whole,
    Chunked,
    /// In pieces, within the time-out.
    Slow,
    /// The connection ends before the announced length.
    Short,
    /// The connection ends within a chunk.
    BrokenChunk,
    /// A byte now and then, for longer than the time-out.
    Never,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub struct Body {
    pub name: String,
    pub bytes: Vec<u8>,
    pub read: Value,
    pub ending: Ending,
}

const SLACK: &str = r#"{"ok":true,"channel":"C123","ts":"1503435956.000247"}"#;

pub fn bodies() -> Vec<Body> {
    let mut bodies: Vec<Body> = PLAIN.iter().map(|text| Body::new(text, text.as_bytes(), plain(text))).collect();
    let ok = || json!({"ok": true});
    let wide = |length: usize| format!(r#"{{"ok":true,"text":"{}"}}"#, "x".repeat(length)).into_bytes();
    let deep = format!(r#"{{"ok":true,"deep":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    for (name, bytes, read) in [
        ("byte order mark", b"\xef\xbb\xbf{\"ok\":true}".to_vec(), ok()),
        ("half an emoji", br#"{"ok":true,"text":"\ud83d"}"#.to_vec(), ok()),
        ("not UTF-8", b"{\"ok\":true,\"text\":\"Caf\xe9\"}".to_vec(), ok()),
        ("a number beyond f64", br#"{"ok":true,"n":1e999}"#.to_vec(), ok()),
        ("5,000 levels", deep.into_bytes(), ok()),
        ("60 KiB", wide(60 * 1024), ok()),
        // More than is read: null.
        ("70 KiB", wide(70 * 1024), Value::Null),
        ("1 MiB", wide(1 << 20), Value::Null),
    ] {
        bodies.push(Body::new(name, &bytes, read));
    }
    for ending in [Ending::Chunked, Ending::Slow, Ending::Short, Ending::BrokenChunk, Ending::Never] {
        let name = format!("{ending:?} {SLACK}");
        bodies.push(Body { name, ending, ..Body::new("", SLACK.as_bytes(), plain(SLACK)) });
    }
    bodies
}

/// Bodies that `serde_json` reads as `JSON.parse` does.
const PLAIN: [&str; 33] = [
    SLACK,
    r#"{"ok":false,"error":"not_in_channel"}"#,
    r#"{"ok":"true"}"#,
    r#"{"ok":1}"#,
    r#"{"ok":null}"#,
    r#"{"OK":true}"#,
    r#"{"error":"invalid_auth"}"#,
    r#"{"\u006fk":true}"#,
    " \r\n\t{\"ok\" : true}\n",
    r#"{"ok":false,"ok":true}"#,
    r#"{"ok":true,"ok":false}"#,
    r#"{"ok":true"#,
    r#"{"ok":true}x"#,
    r#"{"ok":true}{"ok":true}"#,
    "{'ok':true}",
    "1",
    "1.0",
    "\"1\"",
    "0",
    "true",
    "null",
    "[]",
    "ok",
    "",
    "<html><body>Sign in</body></html>",
    "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
    r#"{"data":{"id":"7"}}"#,
    r#"{"data":null,"errors":[{"message":"no"}]}"#,
    r#"{"errcode":0,"errmsg":"ok"}"#,
    r#"{"errcode":310000,"errmsg":"keywords not in content"}"#,
    r#"{"code":0,"msg":"success"}"#,
    r#"{"StatusCode":0,"StatusMessage":"success"}"#,
    r#"{"result":[{"status":"ok"},{"status":"failed"}]}"#,
];

fn plain(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl Body {
    fn new(name: &str, bytes: &[u8], read: Value) -> Self {
        Body { name: name.to_owned(), bytes: bytes.to_vec(), read, ending: Ending::Whole }
    }

    /// The answer with this body.
    pub fn answer(&self, status: u16) -> Vec<Step> {
        let (bytes, length) = (&self.bytes, self.bytes.len());
        let head = |framing: &str| Step::Send(format!("HTTP/1.1 {status} X\r\n{framing}\r\n\r\n").into_bytes());
        let announced = |length: usize| head(&format!("content-type: application/json\r\ncontent-length: {length}"));
        let pieces =
            |every: Duration| bytes.chunks(20).flat_map(move |piece| [Step::Wait(every), Step::Send(piece.to_vec())]);
        let chunk = Step::Send([format!("{length:x}\r\n").as_bytes(), bytes].concat());
        match self.ending {
            Ending::Whole if status == 204 || status == 304 => vec![head("x-empty: yes")],
            Ending::Whole => vec![announced(length), Step::Send(bytes.clone())],
            Ending::Chunked => vec![head("transfer-encoding: chunked"), chunk, Step::Send(b"\r\n0\r\n\r\n".to_vec())],
            Ending::Slow => [announced(length)].into_iter().chain(pieces(Duration::from_millis(50))).collect(),
            Ending::Short => vec![announced(length + 1), Step::Send(bytes.clone()), Step::Close],
            Ending::BrokenChunk => vec![head("transfer-encoding: chunked"), chunk, Step::Close],
            Ending::Never => [announced(length)].into_iter().chain(pieces(Duration::from_secs(5))).collect(),
        }
    }
}

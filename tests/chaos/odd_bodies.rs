//! Bodies with odd scalars and structure, built piece by piece together with what `JSON.parse` in Node reads from them.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// A body, and what is in it.
#[derive(Clone, Debug)]
pub struct Odd {
    pub bytes: Vec<u8>,
    pub event_type: &'static str,
    pub title: String,
    pub number: &'static str,
}

/// Content of a JSON string as bytes, and the text that is read, with U+FFFD for what is no character.
const PIECES: [(&[u8], &str); 24] = [
    (b"Sale", "Sale"),
    (br"Sale \ud83d", "Sale \u{FFFD}"),
    (br"\udd25", "\u{FFFD}"),
    (br"\ud83d\udd25", "\u{1F525}"),
    (br"\uD83D\uDD25", "\u{1F525}"),
    (br"\ud83d\ud83d\udd25", "\u{FFFD}\u{1F525}"),
    (br"\udd25\ud83d", "\u{FFFD}\u{FFFD}"),
    (br"\ud83d\u0041", "\u{FFFD}A"),
    (br"\ud83d\\udd25", "\u{FFFD}\\udd25"),
    (br"\\ud83d", "\\ud83d"),
    (b"Caf\xe9", "Caf\u{FFFD}"),
    // A truncated character, half an emoji in UTF-8, an overlong slash: by the rules of WHATWG's decoder.
    (b"\xf0\x9f\x94!", "\u{FFFD}!"),
    (b"\xed\xa0\xbd", "\u{FFFD}\u{FFFD}\u{FFFD}"),
    (b"\xc0\xaf", "\u{FFFD}\u{FFFD}"),
    (b"\xff\xfe", "\u{FFFD}\u{FFFD}"),
    (br"\u0000\u0007\b\f", "\0\u{7}\u{8}\u{c}"),
    (br#"\"\\\/"#, "\"\\/"),
    (br"line\r\n\tline", "line\r\n\tline"),
    ("é 👩‍👩‍👧 \u{2028}".as_bytes(), "é 👩‍👩‍👧 \u{2028}"),
    (b"\x7f", "\x7f"),
    (br"\ue000\ue001", "\u{E000}\u{E001}"),
    ("\u{E000}".as_bytes(), "\u{E000}"),
    (b"{{ event.id }} {% raw %} ${x}", "{{ event.id }} {% raw %} ${x}"),
    ("\u{10FFFF}".as_bytes(), "\u{10FFFF}"),
];

const NUMBERS: [&str; 24] = [
    "0",
    "-0",
    "7",
    "1.0",
    "-0.5",
    "1E5",
    "1e+2",
    "1e-7",
    "0.1",
    "0.30000000000000004",
    "9007199254740993",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "3.141592653589793238462643",
    "1e308",
    "1.7976931348623157e308",
    "5e-324",
    "1e-999",
    "1e999",
    "-1E+999",
    "0e999",
    "100000000000000000000.5",
];

/// Depths of nesting: those around the limits of common readers.
const DEPTHS: [usize; 9] = [1, 100, 125, 126, 127, 128, 512, 1_000, 10_000];

const TYPES: [&str; 4] = ["link.created", "link.updated", "link.deleted", "profile.updated"];

impl Odd {
    /// The body of link `n`.
    pub fn random(n: usize, rng: &mut StdRng) -> Self {
        let (mut raw, mut title) = (Vec::new(), String::new());
        for _ in 0..rng.random_range(1..4) {
            let (bytes, text) = PIECES.choose(rng).unwrap();
            // A letter between them, because halves of characters would join.
            raw.extend_from_slice(bytes);
            raw.push(b'-');
            title += text;
            title.push('-');
        }
        let (number, depth) = (*NUMBERS.choose(rng).unwrap(), *DEPTHS.choose(rng).unwrap());
        let (event_type, other) = (*TYPES.choose(rng).unwrap(), *TYPES.choose(rng).unwrap());
        let mut body: Vec<u8> = Vec::new();
        let mut add = |text: &[u8]| body.extend_from_slice(text);
        if rng.random_ratio(1, 4) {
            add(b"\xef\xbb\xbf");
        }
        add(b"{");
        if rng.random_ratio(1, 3) {
            add(format!(r#""type": "{other}", "data": {{"link_id": "other"}}, "#).as_bytes());
        }
        if rng.random_ratio(1, 5) {
            add(br#""\udead": 1, "": [1e999], "__proto__": {"type": 7}, "#);
        }
        let name = if rng.random_ratio(1, 5) { r"t\u0079pe" } else { "type" };
        add(format!(r#""{name}": "{event_type}", "#).as_bytes());
        add(br#""data": {"title": ""#);
        add(&raw);
        add(format!(r#"", "n": {number}, "deep": {}{}, "#, "[".repeat(depth), "]".repeat(depth)).as_bytes());
        if rng.random_ratio(1, 5) {
            add(br#""link_id": "first", "#);
        }
        add(format!("\"link_id\": \"l{n}\"}}, \"timestamp\": {number} }}").as_bytes());
        Odd { bytes: body, event_type, title, number }
    }

    /// Whether a number of the output is the one that Node reads: integers exactly, others as 64-bit floats, and those
    /// that are too large or too small for one as they were written.
    pub fn is_number(&self, output: &str) -> bool {
        let float = |text: &str| text.parse::<f64>().ok();
        let exact = self.number.trim_start_matches('-').bytes().all(|digit| digit.is_ascii_digit());
        let lost = float(self.number).is_some_and(f64::is_infinite);
        if (exact && self.number != "-0") || lost { output == self.number } else { float(output) == float(self.number) }
    }
}

/// Bodies that `JSON.parse` rejects, or that are no object.
pub const NO_OBJECTS: [&[u8]; 32] = [
    b"",
    b" ",
    b"{",
    b"}",
    b"{}}",
    b"{}{}",
    b"null",
    b"true",
    b"7",
    b"1e999",
    b"\"x\"",
    b"[]",
    b"[{\"type\":\"link.created\"}]",
    b"NaN",
    b"{\"type\":\"link.created\",\"data\":{\"n\":NaN}}",
    b"{\"type\":\"link.created\",\"data\":{\"n\":-Infinity}}",
    b"{\"type\":\"link.created\",\"data\":{\"n\":01}}",
    b"{\"type\":\"link.created\",\"data\":{\"n\":+1}}",
    b"{\"type\":\"link.created\",\"data\":{\"n\":.5}}",
    b"{\"type\":\"link.created\",\"data\":{\"n\":1e}}",
    b"{\"type\":\"link.created\",\"data\":{\"n\":1e9999.5}}",
    b"{\"type\":\"link.created\",\"data\":{},}",
    b"{\"type\":\"link.created\",\"data\":[1,]}",
    b"{'type':'link.created'}",
    b"{\"type\":\"link.created\" /* x */}",
    b"{\"type\":\"a\nb\"}",
    b"{\"type\":\"\\u12\"}",
    b"{\"type\":\"\\x41\"}",
    b"{\"type\":\"link.created\"",
    b"{\"type\":\"link.created\",\"data\":\"",
    b"{\xef\xbb\xbf\"type\":\"link.created\"}",
    b"<html>\xff</html>",
];

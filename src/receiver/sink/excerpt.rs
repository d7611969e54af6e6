//! The start of a sink's response, in a form that is safe to store and to show: without credentials, escaped, bounded.
//! A sink may echo the request that it rejects, so its response may contain the sink's own credentials. Pure.

use std::{collections::HashSet, fmt};

use url::Url;

use super::credential_pattern;
use crate::route::Sink;

/// Maximum length of an excerpt in bytes.
pub const EXCERPT_MAX: usize = 256;
/// The part of a response that an excerpt is made of. More of it than [`EXCERPT_MAX`], because redaction shortens text.
const SOURCE_MAX: usize = 2048;
/// Any piece of a credential of this length is redacted, so that a response that quotes only a part is no leak.
const PIECE: usize = 8;
/// The shortest value of a URL's query that may be a credential.
const QUERY_VALUE_MIN: usize = 4;
/// The replacement of redacted text.
const REDACTED: &str = "[redacted]";

/// The start of a sink's response, redacted and escaped: at most [`EXCERPT_MAX`] printable bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    /// The text; `None` if the response has no body.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

/// Makes excerpts of one sink's responses. `Debug` shows nothing of the credentials.
#[derive(Clone, Default)]
pub struct Redactor {
    /// All pieces of the credentials, in lower case.
    pieces: HashSet<[u8; PIECE]>,
    /// The credentials that are shorter than a piece, in lower case.
    short: Vec<Vec<u8>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(…)")
    }
}

impl Redactor {
    /// A redactor for the credentials of `sink`: its bearer token, its signing secret, and all of its URL after the host.
    #[must_use]
    pub fn new(sink: &Sink) -> Self {
        let mut redactor = Redactor::default();
        for secret in sink.bearer.iter().chain(&sink.signing_secret) {
            redactor.add(secret.expose().as_bytes());
            // A signing secret may have been stored with line breaks.
            secret.expose().split_ascii_whitespace().for_each(|part| redactor.add(part.as_bytes()));
        }
        if let Some(url) = &sink.url {
            redactor.add_url(url.expose());
        }
        redactor
    }

    fn add_url(&mut self, url: &Url) {
        let after_host = url[url::Position::BeforePath..].as_bytes();
        for text in [after_host, &percent_decoded(after_host)] {
            // A shorter one holds no credential, and is a part of ordinary words.
            if text.len() >= PIECE {
                self.add(text);
            }
        }
        for text in [url.username().as_bytes(), url.password().unwrap_or_default().as_bytes()] {
            self.add(text);
            self.add(&percent_decoded(text));
        }
        for (_, value) in url.query_pairs().filter(|(_, value)| value.len() >= QUERY_VALUE_MIN) {
            self.add(value.as_bytes());
        }
    }

    fn add(&mut self, credential: &[u8]) {
        let credential = credential.to_ascii_lowercase();
        if credential.len() >= PIECE {
            self.pieces.extend(credential.windows(PIECE).filter_map(|piece| <[u8; PIECE]>::try_from(piece).ok()));
        } else if !credential.is_empty() && !self.short.contains(&credential) {
            self.short.push(credential);
        }
    }

    /// The excerpt of a response that begins with `body`.
    #[must_use]
    pub fn excerpt(&self, body: &[u8]) -> Excerpt {
        let source = String::from_utf8_lossy(&body[..body.len().min(SOURCE_MAX)]);
        let mut hidden = vec![false; source.len()];
        self.hide(source.as_bytes(), &mut hidden);
        credential_pattern::hide(source.as_bytes(), &mut hidden);
        let (mut text, mut is_hidden) = (String::new(), false);
        for (start, character) in source.char_indices() {
            let was_hidden = is_hidden;
            is_hidden = hidden[start..start + character.len_utf8()].contains(&true);
            let shown = match (is_hidden, was_hidden) {
                (true, true) => continue,
                (true, false) => REDACTED.to_owned(),
                (false, _) => escaped(character),
            };
            if text.len() + shown.len() > EXCERPT_MAX {
                break;
            }
            text.push_str(&shown);
        }
        Excerpt(text)
    }

    /// Marks the bytes of `source` that are a piece of a credential. Backslashes count as absent: JSON may escape a
    /// slash.
    fn hide(&self, source: &[u8], hidden: &mut [bool]) {
        let bytes = source.iter().enumerate().filter(|(_, byte)| **byte != b'\\');
        let (at, bytes): (Vec<usize>, Vec<u8>) = bytes.map(|(at, byte)| (at, byte.to_ascii_lowercase())).unzip();
        let mut mark = |start: usize, length: usize| hidden[at[start]..=at[start + length - 1]].fill(true);
        for (start, piece) in bytes.windows(PIECE).enumerate() {
            if self.pieces.contains(piece) {
                mark(start, PIECE);
            }
        }
        for credential in &self.short {
            for (start, window) in bytes.windows(credential.len()).enumerate() {
                if window == credential {
                    mark(start, credential.len());
                }
            }
        }
    }
}

/// A character as the excerpt shows it: quotes stay, since most responses are JSON; a line break or another character
/// that does not print is escaped.
fn escaped(character: char) -> String {
    match character {
        '"' | '\'' => character.to_string(),
        _ => character.escape_debug().to_string(),
    }
}

/// Decodes `%41`; other text stays as it is.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((first, after)) = rest.split_first() {
        let mut byte = [0];
        let escape = Some(after).filter(|_| *first == b'%').and_then(|after| after.split_at_checked(2));
        match escape.filter(|(digits, _)| hex::decode_to_slice(digits, &mut byte).is_ok()) {
            Some((_, after)) => {
                decoded.push(byte[0]);
                rest = after;
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linktree::secret::Secret;

    fn sink(url: &str, bearer: Option<&str>, signing_secret: Option<&str>) -> Redactor {
        let mut sink = Sink::new("cms", Url::parse(url).unwrap());
        (sink.bearer, sink.signing_secret) = (bearer.map(Secret::new), signing_secret.map(Secret::new));
        Redactor::new(&sink)
    }

    fn excerpt(redactor: &Redactor, body: &str) -> String {
        redactor.excerpt(body.as_bytes()).text().unwrap_or_default().to_owned()
    }

    #[test]
    fn ordinary_responses_stay_readable() {
        let redactor = sink("https://cms.example/in", Some("b3arer-T0ken"), Some("s3cret-signing"));
        for body in [
            "service unavailable",
            r#"{"ok":false,"error":"channel_not_found","request_id":"7f3c2a9e-1b1f-4a55-9d0e-6a4c1c8f2e11"}"#,
            "Cannot POST /in",
            "quota exceeded: 100 requests a minute, see https://cms.example/docs/rate-limits",
        ] {
            assert_eq!(excerpt(&redactor, body), body);
        }
        assert_eq!(redactor.excerpt(b"").text(), None);
    }

    #[test]
    fn credentials_of_the_sink_do_not_appear_in_whatever_form_they_are_echoed() {
        let redactor = sink(
            "https://hooks.example/services/T0AAAAAAA/B0%2Fbbbbbbbb/cccccccccccccccc?key=k3y9&sig=s%20gnature",
            Some("opaque/Bearer+Value=="),
            Some("whsec_MDEyMzQ1Njc4OWFiY2RlZg=="),
        );
        for (body, leaks) in [
            (
                "no route for /services/T0AAAAAAA/B0%2Fbbbbbbbb/cccccccccccccccc?key=k3y9&sig=s%20gnature",
                &["T0AA", "bbbb", "cccc", "k3y9", "gnature"][..],
            ),
            ("no route for /services/T0AAAAAAA/B0/bbbbbbbb/cccccccccccccccc", &["T0AA", "bbbb", "cccc"]),
            (r"no route for \/services\/T0AAAAAAA\/B0\/bbbbbbbb\/cccccccccccccccc", &["T0AA", "bbbb", "cccc"]),
            ("key K3Y9 is not valid, nor is 's gnature'", &["K3Y9", "gnature"]),
            (r#"{"authorization":"opaque\/Bearer+Value=="}"#, &["opaque", "Value"]),
            ("got OPAQUE/BEARER+VALUE==", &["OPAQUE", "VALUE"]),
            ("cut off: opaque/Bearer+Va", &["opaque", "+Va"]),
            ("signed with MDEyMzQ1Njc4OWFiY2RlZg", &["MDEy", "RlZg"]),
        ] {
            let shown = excerpt(&redactor, body);
            assert!(shown.contains(REDACTED), "{shown}");
            for leak in leaks {
                assert!(!shown.contains(leak), "{leak} in {shown}");
            }
        }
        assert_eq!(format!("{redactor:?}"), "Redactor(…)");
        assert_eq!(excerpt(&sink("https://cms.example/in", Some("t0k"), None), "token t0k!"), "token [redacted]!");
    }

    #[test]
    fn text_that_does_not_print_is_escaped() {
        let redactor = sink("https://cms.example/in", None, None);
        let shown = excerpt(&redactor, "a\r\nb\t\u{1b}[31m\u{0}\u{202e}\u{85}\\n \"ü\" 日本");
        assert_eq!(shown, r#"a\r\nb\t\u{1b}[31m\0\u{202e}\u{85}\\n "ü" 日本"#);
        assert_eq!(redactor.excerpt(b"\xff\xfe").text(), Some("\u{fffd}\u{fffd}"));
    }

    #[test]
    fn an_excerpt_is_bounded_and_ends_between_two_characters() {
        let redactor = sink("https://cms.example/in", Some("opaque/Bearer+Value=="), None);
        for body in ["x".repeat(100_000), "ü".repeat(300), "日".repeat(300), "\n".repeat(300), "\u{202e}".repeat(99)]
        {
            let shown = excerpt(&redactor, &body);
            assert!((EXCERPT_MAX - 8..=EXCERPT_MAX).contains(&shown.len()), "{} bytes", shown.len());
        }
        for offset in 0..300 {
            let body = format!("{}opaque/Bearer+Value==", "x ".repeat(offset));
            assert!(!excerpt(&redactor, &body).contains("opa"), "{offset}");
        }
    }
}

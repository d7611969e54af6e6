//! Removes the values of configured fields from a body before it is stored. Pure.
//!
//! It works on the text, not on a parsed tree: all bytes outside the values stay as they came, including numbers and
//! the order of fields, and a body without a match is not copied. Broken JSON is redacted as far as it can be parsed; a
//! body that is not JSON has no fields.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// The replacement of a value.
const REDACTED: &[u8] = br#""[redacted]""#;

/// The fields to redact, at any depth.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    names: Vec<Finder<'static>>,
}

impl Redaction {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a String>) -> Self {
        Redaction { names: names.into_iter().map(|name| Finder::new(name.as_bytes()).into_owned()).collect() }
    }

    /// The redacted body: the same bytes if no field matches.
    #[must_use]
    pub fn apply(&self, body: Bytes) -> Bytes {
        if !self.may_match(&body) {
            return body;
        }
        let mut text = Text { bytes: &body, at: 0 };
        let (mut redacted, mut copied) = (BytesMut::with_capacity(body.len() + REDACTED.len()), 0);
        while let Some(name) = text.next_name() {
            if self.names_one(name) {
                text.skip_white_space();
                let start = text.at;
                text.skip_value();
                redacted.extend_from_slice(&body[copied..start]);
                redacted.extend_from_slice(REDACTED);
                copied = text.at;
            }
        }
        if copied == 0 {
            return body;
        }
        redacted.extend_from_slice(&body[copied..]);
        redacted.freeze()
    }

    /// Whether the body must be scanned. An escaped field name does not occur literally.
    fn may_match(&self, body: &[u8]) -> bool {
        let escaped = || memchr::memchr(b'\\', body).is_some();
        !self.names.is_empty() && (self.names.iter().any(|name| name.find(body).is_some()) || escaped())
    }

    /// Whether a string, with its quotes, is the name of a configured field.
    fn names_one(&self, quoted: &[u8]) -> bool {
        let is = |name: &[u8]| self.names.iter().any(|finder| finder.needle() == name);
        if memchr::memchr(b'\\', quoted).is_none() {
            return quoted.len() >= 2 && is(&quoted[1..quoted.len() - 1]);
        }
        serde_json::from_slice::<String>(quoted).is_ok_and(|name| is(name.as_bytes()))
    }
}

/// A position in a JSON text.
struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
    /// Advances past the next field name and its colon; returns the name with its quotes.
    fn next_name(&mut self) -> Option<&'a [u8]> {
        loop {
            self.at += memchr::memchr(b'"', &self.bytes[self.at..])?;
            let start = self.at;
            self.skip_string();
            let string = &self.bytes[start..self.at];
            self.skip_white_space();
            if self.peek() == Some(b':') {
                self.at += 1;
                return Some(string);
            }
        }
    }

    /// Advances past the string that starts here, or to the end of the text.
    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(found) = memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]) {
            self.at += found + 1;
            if self.bytes[self.at - 1] == b'"' {
                return;
            }
            self.at = (self.at + 1).min(self.bytes.len());
        }
        self.at = self.bytes.len();
    }

    /// Advances past the value that starts here, to the comma or bracket behind it, or to the end of the text.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b'}' | b']' | b',' if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn skip_white_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests;

//! Reads JSON that `JSON.parse` in Node reads, also where `serde_json` fails: a byte order mark, bytes that are not
//! UTF-8, half of a surrogate pair, a number that no 64-bit type holds, deep nesting. Pure.
//!
//! Characters and values that cannot be held are replaced: U+FFFD for the character, null for a value that is nested
//! too deeply. Such a number becomes a string that [`written`] recognises, so that it can be written as it came.

use std::{borrow::Cow, ops::Range};

use serde::de::IgnoredAny;
use serde_json::Value;

/// Encloses a number in a string. These noncharacters are not for interchange: in the input they become U+FFFD, so that
/// no input can pose as a number.
const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';
const REPLACEMENT: &str = "\u{FFFD}";
/// Deepest nesting that `serde_json` reads.
const DEPTH_MAX: usize = 127;

/// Reads a text. Of several fields with one name, the last counts.
///
/// # Errors
/// If `JSON.parse` would fail, too.
pub fn read(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&Cleaner::clean(text.trim_start_matches('\u{FEFF}')))
}

/// The number that a string of [`read`] stands for, as it was written; `None` for an ordinary string.
#[must_use]
pub fn written(text: &str) -> Option<&str> {
    text.strip_prefix(OPEN)?.strip_suffix(CLOSE).filter(|number| !number.contains([OPEN, CLOSE]))
}

/// Writes each number of `json`, a serialized value of [`read`], as it was written.
#[must_use]
pub fn with_written_numbers(json: &str) -> Cow<'_, str> {
    if !json.contains(OPEN) {
        return json.into();
    }
    let mut text = Cleaner { text: json, at: 0, copied: 0, cleaned: String::new() };
    while text.at < json.len() {
        let start = text.at;
        if text.peek() != Some(b'"') {
            text.at += 1;
            continue;
        }
        text.skip_string();
        let quoted = json.get(start + 1..text.at.saturating_sub(1));
        if let Some(number) = quoted.and_then(written) {
            text.replace(start, number);
        }
    }
    text.finish()
}

/// `text` without the marks of numbers.
#[must_use]
pub fn without_marks(text: String) -> String {
    if text.contains([OPEN, CLOSE]) { text.replace([OPEN, CLOSE], "") } else { text }
}

/// A position in a JSON text, and the text before it with its replacements.
struct Cleaner<'a> {
    text: &'a str,
    at: usize,
    /// The end of the part that is in `cleaned`.
    copied: usize,
    cleaned: String,
}

impl<'a> Cleaner<'a> {
    fn clean(text: &'a str) -> Cow<'a, str> {
        let mut cleaner = Cleaner { text, at: 0, copied: 0, cleaned: String::new() };
        let mut depth = 0_usize;
        while let Some(byte) = cleaner.peek() {
            match byte {
                b'"' => cleaner.clean_string(),
                b'-' | b'0'..=b'9' => cleaner.clean_number(),
                b'{' | b'[' if depth == DEPTH_MAX => cleaner.clean_container(),
                b'{' | b'[' => (depth, cleaner.at) = (depth + 1, cleaner.at + 1),
                b'}' | b']' => (depth, cleaner.at) = (depth.saturating_sub(1), cleaner.at + 1),
                _ => cleaner.at += 1,
            }
        }
        cleaner.finish()
    }

    fn finish(mut self) -> Cow<'a, str> {
        if self.copied == 0 {
            return self.text.into();
        }
        self.cleaned.push_str(&self.text[self.copied..]);
        self.cleaned.into()
    }

    fn clean_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' => self.clean_escape(),
                // The first byte of the marks.
                0xEF if self.text[self.at..].starts_with([OPEN, CLOSE]) => {
                    let start = self.at;
                    self.at += OPEN.len_utf8();
                    self.replace(start, REPLACEMENT);
                }
                _ => self.at += 1,
            }
        }
    }

    fn clean_escape(&mut self) {
        let start = self.at;
        let Some(unit) = self.unit(start) else {
            self.at = start + 2;
            return;
        };
        self.at = start + 6;
        let held = match unit {
            0xD800..=0xDBFF if matches!(self.unit(self.at), Some(0xDC00..=0xDFFF)) => {
                self.at += 6;
                true
            }
            0xD800..=0xDFFF => false,
            unit => ![OPEN, CLOSE].map(u32::from).contains(&u32::from(unit)),
        };
        if !held {
            self.replace(start, REPLACEMENT);
        }
    }

    /// The UTF-16 unit of the escape `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if hex { u16::from_str_radix(digits, 16).ok() } else { None }
    }

    fn clean_number(&mut self) {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let number = &self.text[start..self.at];
        if !is_held(number) && self.is_json(start..self.at) {
            self.replace(start, &format!("\"{OPEN}{number}{CLOSE}\""));
        }
    }

    /// Replaces the container that begins here by null.
    fn clean_container(&mut self) {
        let (start, mut depth) = (self.at, 0_usize);
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        if self.is_json(start..self.at) {
            self.replace(start, "null");
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        self.at = self.at.min(self.text.len());
    }

    fn is_json(&self, range: Range<usize>) -> bool {
        self.text.get(range).is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
    }

    /// Replaces the text from `start` to here.
    fn replace(&mut self, start: usize, with: &str) {
        self.cleaned.push_str(&self.text[self.copied..start]);
        self.cleaned.push_str(with);
        self.copied = self.at;
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// Whether `serde_json` keeps the value of a number: an integer exactly, any other one as a 64-bit float.
fn is_held(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    let zero = || number.split(['e', 'E']).next().is_some_and(|digits| !digits.contains(|c| matches!(c, '1'..='9')));
    number.parse::<f64>().is_ok_and(|float| float.is_finite() && (float != 0.0 || zero()))
}

#[cfg(test)]
mod tests;

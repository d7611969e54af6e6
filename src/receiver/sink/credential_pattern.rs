//! Finds text that looks like a credential, of any owner: a sink's response may quote the credentials of its own
//! backends. Pure.

/// Words whose value is a credential, and whether the value may contain spaces, such as `Basic dXNlcjpwYXNz`.
const NAMES: [(&str, bool); 9] = [
    ("authorization", true),
    ("cookie", true),
    ("token", false),
    ("secret", false),
    ("password", false),
    ("passwd", false),
    ("api_key", false),
    ("api-key", false),
    ("apikey", false),
];
/// The word before a token in `Authorization`.
const SCHEME: &str = "bearer";
/// The shortest run of letters and digits that counts as a token without such a word.
const OPAQUE_MIN: usize = 24;

/// Marks the bytes of `source` that look like a credential.
pub(super) fn hide(source: &[u8], hidden: &mut [bool]) {
    let lower = source.to_ascii_lowercase();
    for (name, with_spaces) in NAMES {
        for after in ends_of(&lower, name) {
            let start = after + separators(&source[after..]);
            if source[after..start].iter().any(|byte| matches!(byte, b':' | b'=')) {
                let is_value = |byte: &u8| is_token(*byte) || (with_spaces && matches!(byte, b' ' | b':' | b';'));
                hidden[start..start + run(&source[start..], is_value)].fill(true);
            }
        }
    }
    for after in ends_of(&lower, SCHEME) {
        let start = after + separators(&source[after..]);
        if start > after {
            hidden[start..start + run(&source[start..], |byte| is_token(*byte))].fill(true);
        }
    }
    let mut start = 0;
    while start < source.len() {
        // A slash is no part of it: addresses are long, too.
        let length = run(&source[start..], |byte| is_token(*byte) && *byte != b'/');
        if is_opaque(&source[start..start + length]) {
            hidden[start..start + length].fill(true);
        }
        start += length.max(1);
    }
}

/// The positions after each occurrence of `word`.
fn ends_of<'a>(lower: &'a [u8], word: &'a str) -> impl Iterator<Item = usize> + 'a {
    memchr::memmem::find_iter(lower, word).map(|at| at + word.len())
}

/// Whether a run of token characters is random: long, with letters of both cases and digits. Names, dates, UUIDs and
/// digests in hex are not.
fn is_opaque(run: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| run.iter().any(kind);
    run.len() >= OPAQUE_MIN && has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
}

/// Number of bytes between a name and its value.
fn separators(text: &[u8]) -> usize {
    let mut length = 0;
    loop {
        length += run(&text[length..], |byte| matches!(byte, b' ' | b'\t' | b':' | b'=' | b'"' | b'\'' | b'\\'));
        // A space in a query.
        match text[length..].strip_prefix(b"%20") {
            Some(_) => length += 3,
            None => return length,
        }
    }
}

fn run(text: &[u8], belongs: impl Fn(&u8) -> bool) -> usize {
    text.iter().take_while(|byte| belongs(byte)).count()
}

/// Whether a token may contain this byte (RFC 6750, section 2.1), or an escape of it.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with its hidden bytes replaced.
    fn shown(text: &str) -> String {
        let mut hidden = vec![false; text.len()];
        hide(text.as_bytes(), &mut hidden);
        text.chars().zip(hidden).map(|(character, hidden)| if hidden { '*' } else { character }).collect()
    }

    #[test]
    fn values_of_credentials_are_hidden() {
        for (text, expected) in [
            ("Bearer abc, then", "Bearer ***, then"),
            ("bearer%20abc&x=1", "bearer%20***&x=1"),
            (r#"{"authorization": "Basic dXNlcjpw", "n": 1}"#, r#"{"authorization": "**************", "n": 1}"#),
            ("Authorization: Bearer a.b-c\nHost: x", "Authorization: ************\nHost: x"),
            (r#"{\"access_token\":\"abc\"}"#, r#"{\"access_token\":\"***\"}"#),
            ("password=hunter2&user=a", "password=*******&user=a"),
            ("X-Api-Key: 77", "X-Api-Key: **"),
            (
                "id eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x9 end",
                "id ******************************************* end",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "invalid token",
            "the secret is wrong",
            "forged",
            "request 7f3c2a9e-1b1f-4a55-9d0e-6a4c1c8f2e11",
            "sha256 ab34ab34ab34ab34ab34ab34ab34ab34ab34ab34",
            "see https://Docs.example.com/v2/Errors/RateLimit",
            "",
        ] {
            assert_eq!(shown(text), text);
        }
    }
}

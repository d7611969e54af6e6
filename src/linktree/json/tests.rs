//! Tests of the reader: what is replaced, and what stays an error.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rendered(bytes: &[u8]) -> String {
    with_written_numbers(&read(bytes).unwrap().to_string()).into_owned()
}

#[test]
fn odd_scalars_are_replaced_and_numbers_kept_as_written() {
    for (text, expected) in [
        (br#"["Sale \ud83d"]"#.as_slice(), r#"["Sale �"]"#),
        (br#"["\udd25", "\ud83d\ud83d\udd25", "\ud83dx"]"#, r#"["�","�🔥","�x"]"#),
        (b"[\"Caf\xe9\"]", r#"["Caf�"]"#),
        (b"\xef\xbb\xbf{\"a\":1}", r#"{"a":1}"#),
        (br#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (
            b"[1e999, -1E+999, 1e-999, 0e-999, 18446744073709551616, 7, 0.5]",
            "[1e999,-1E+999,1e-999,0.0,18446744073709551616,7,0.5]",
        ),
        (br#"["a\\ud83d", "\\", "\"", "1e999"]"#, r#"["a\\ud83d","\\","\"","1e999"]"#),
        (br#"{"\ud83d": 1}"#, r#"{"�":1}"#),
    ] {
        assert_eq!(rendered(text), expected, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_value_that_is_nested_too_deeply_is_null() {
    for depth in [126, 127, 128, 10_000] {
        let text = format!(r#"{{"deep":{}1{},"b":"x"}}"#, r#"[{"]":"#.repeat(depth), "}]".repeat(depth));
        let value = read(text.as_bytes()).unwrap();
        assert_eq!(value["b"], "x", "{depth}");
    }
    let held = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
    assert_eq!(read(held.as_bytes()).unwrap().to_string(), held);
    assert_eq!(read(format!("[{held}]").as_bytes()).unwrap().to_string(), held.replace("[]", "[null]"));
}

#[test]
fn a_text_that_is_not_json_stays_an_error() {
    for text in
        ["", "{", "[1e999", "[01e999]", "[1e9999.5]", "\"\\u12\"", "\"\\", "[-]", "{\"a\":\"\u{e9}", "\"\\\u{e9}\""]
    {
        assert!(read(text.as_bytes()).is_err(), "{text}");
    }
    for close in ["", "]", "}}"] {
        assert!(read(format!("{}{close}", "[".repeat(200)).as_bytes()).is_err(), "{close}");
    }
}

#[test]
fn no_input_poses_as_a_number() {
    for text in ["[\"\u{FDD0}1\u{FDD1}\"]", r#"["\ufdd01\uFDD1"]"#] {
        assert_eq!(read(text.as_bytes()).unwrap(), json!(["\u{FFFD}1\u{FFFD}"]), "{text}");
    }
}

/// Pieces of JSON, of escapes and of marks.
const PIECES: &str = r#"[\[\]{}":,\\ud8dcf0-9eE+.\-\u{FDD0}\u{FDD1}é ]{0,40}"#;

proptest! {
    #[test]
    fn every_text_is_read_without_a_panic(text in PIECES, cut in 0_usize..80) {
        let bytes = text.as_bytes();
        let bytes = &bytes[..cut.min(bytes.len())];
        if let Ok(value) = read(bytes) {
            prop_assert!(serde_json::from_str::<IgnoredAny>(&with_written_numbers(&value.to_string())).is_ok());
        }
    }

    #[test]
    fn what_serde_reads_exactly_is_read_the_same(text in any::<String>(), number in any::<i64>()) {
        let value = json!({"a": [text.replace([OPEN, CLOSE], ""), number, null]});
        prop_assert_eq!(read(value.to_string().as_bytes()).unwrap(), value);
    }
}

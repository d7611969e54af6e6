//! Whether a request's body is encoded. The signature covers the plain body, so an encoded one is rejected. Pure.

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, TRANSFER_ENCODING},
};

/// Values of `Content-Encoding` that name no coding. `utf-8` is a charset that some senders write there.
const PLAIN: [&[u8]; 3] = [b"", b"identity", b"utf-8"];

/// Whether `Content-Encoding` names a coding.
pub(super) fn is_encoded(header: &HeaderMap) -> bool {
    let mut codings =
        header.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| !PLAIN.iter().any(|plain| coding.trim_ascii().eq_ignore_ascii_case(plain)))
}

/// Whether `Transfer-Encoding` is anything but exactly `chunked`. hyper accepts any list that ends in `chunked` and
/// decodes only this last coding; it answers 400 itself to other lists (RFC 9112, section 6.3).
pub(super) fn is_transfer_encoded(header: &HeaderMap) -> bool {
    let mut values = header.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => false,
        (Some(value), None) => !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn identity_a_charset_and_nothing_are_no_content_coding() {
        for plain in [&[][..], &[""], &[" "], &["identity"], &["Identity"], &["utf-8"], &["UTF-8, identity"], &["", ""]]
        {
            assert!(!is_encoded(&with(&CONTENT_ENCODING, plain)), "{plain:?}");
        }
        for coded in [&["gzip"][..], &["identity, gzip"], &["identity", "br"], &["utf8"], &["*"], &["\"\""]] {
            assert!(is_encoded(&with(&CONTENT_ENCODING, coded)), "{coded:?}");
        }
    }

    #[test]
    fn only_chunked_is_a_known_transfer_coding() {
        for known in [&[][..], &["chunked"], &["Chunked"], &["\tchunked "]] {
            assert!(!is_transfer_encoded(&with(&TRANSFER_ENCODING, known)), "{known:?}");
        }
        for unknown in [
            &["gzip, chunked"][..],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &[",chunked"],
            &["identity"],
            &[""],
        ] {
            assert!(is_transfer_encoded(&with(&TRANSFER_ENCODING, unknown)), "{unknown:?}");
        }
    }
}

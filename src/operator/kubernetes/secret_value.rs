//! Reads values from Secrets.

use crate::linktree::secret::Secret;

/// The value of a Secret key, trimmed of white space, such as a newline that an editor added. `None` if it is empty or
/// not UTF-8.
#[must_use]
pub fn secret_value(bytes: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty()).then(|| Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_pasted_secret_is_not_part_of_it() {
        assert_eq!(secret_value(b"s3cret\n"), Some(Secret::new("s3cret")));
        assert_eq!(secret_value(b" \n"), None);
        assert_eq!(secret_value(&[0xff]), None);
    }
}

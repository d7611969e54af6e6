//! Kubernetes quantities of bytes, parsed and formatted by the rules of apimachinery's `resource.Quantity`.

use std::fmt;

/// The largest quantity in bytes: apimachinery caps one with a binary suffix there.
const MAX_BYTES: u64 = i64::MAX.unsigned_abs();
/// Any number with this many zeros appended exceeds [`MAX_BYTES`].
const ZEROS_MAX: usize = 20;

const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL_SUFFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// A quantity of whole bytes. Its `Display` is the canonical form that the API server stores: `1Gi` for `1024Mi`,
/// `1536Mi` for `1.5Gi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteQuantity {
    bytes: u64,
    notation: Notation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    Binary,
    Decimal,
    Exponent,
}

/// The factor of a quantity's suffix: 10^`ten` times 2^`two`.
struct Scale {
    notation: Notation,
    ten: i64,
    two: u32,
}

impl ByteQuantity {
    /// Parses every quantity that CEL's `isQuantity` accepts, unless it is negative; `None` for any other text.
    ///
    /// A fraction of a byte is rounded up to a whole byte. A quantity above [`MAX_BYTES`] becomes [`MAX_BYTES`].
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = [whole, fraction].concat();
        if digits.is_empty() || fraction.contains('.') {
            return None;
        }
        let Scale { notation, ten, two } = Scale::parse(suffix)?;
        let point = i64::try_from(whole.len()).ok()?.saturating_add(ten);
        Some(ByteQuantity { bytes: round_up(digits.as_bytes(), point, two), notation })
    }

    pub fn bytes(self) -> u64 {
        self.bytes
    }
}

impl Scale {
    fn parse(suffix: &str) -> Option<Self> {
        let position = |suffixes: [&str; 7]| (0..).zip(suffixes).find_map(|(at, it)| (it == suffix).then_some(at));
        if let Some(power) = position(DECIMAL_SUFFIXES) {
            return Some(Scale { notation: Notation::Decimal, ten: i64::from(3 * power), two: 0 });
        }
        if let Some(power) = position(BINARY_SUFFIXES) {
            return Some(Scale { notation: Notation::Binary, ten: 0, two: 10 * power });
        }
        let (notation, ten) = match suffix {
            "m" => (Notation::Decimal, -3),
            "u" => (Notation::Decimal, -6),
            "n" => (Notation::Decimal, -9),
            _ => (Notation::Exponent, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
        };
        Some(Scale { notation, ten, two: 0 })
    }
}

/// The decimal number with these digits, of which `point` precede the decimal point, times 2^`two`, rounded up to an
/// integer.
fn round_up(digits: &[u8], point: i64, two: u32) -> u64 {
    let digit = |byte: &u8| u64::from(byte - b'0');
    let longest = digits.len() + ZEROS_MAX;
    let point = if point < 0 { 0 } else { usize::try_from(point).map_or(longest, |point| point.min(longest)) };
    let padded = digits.iter().chain(std::iter::repeat(&b'0'));
    let whole = padded.take(point).fold(0_u64, |whole, byte| whole.saturating_mul(10).saturating_add(digit(byte)));
    // Long multiplication by 2^`two`, starting from the last digit, so that no digit of the fraction is lost.
    let fraction = digits.get(point..).unwrap_or_default();
    let (carry, inexact) = fraction.iter().rev().fold((0, false), |(carry, inexact), byte| {
        let product = (digit(byte) << two) + carry;
        (product / 10, inexact || !product.is_multiple_of(10))
    });
    whole.saturating_mul(1 << two).saturating_add(carry + u64::from(inexact)).min(MAX_BYTES)
}

impl fmt::Display for ByteQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ByteQuantity { bytes, notation } = *self;
        match notation {
            Notation::Binary if bytes >= 1024 => {
                let (number, power) = factor_out(1024, bytes);
                write!(f, "{number}{}", BINARY_SUFFIXES[power])
            }
            Notation::Binary | Notation::Decimal => {
                let (number, power) = factor_out(1000, bytes);
                write!(f, "{number}{}", DECIMAL_SUFFIXES[power])
            }
            Notation::Exponent => match factor_out(1000, bytes) {
                (number, 0) => write!(f, "{number}"),
                (number, power) => write!(f, "{number}e{}", 3 * power),
            },
        }
    }
}

/// Splits `bytes` into `number` times `base`^`power`, with the largest possible `power`: at most 6.
fn factor_out(base: u64, bytes: u64) -> (u64, usize) {
    let (mut number, mut power) = (bytes, 0);
    while number != 0 && number.is_multiple_of(base) {
        number /= base;
        power += 1;
    }
    (number, power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Quantities with the bytes and the canonical form that apimachinery v0.37's ParseQuantity, Value and String
    /// return, except that a fraction of a byte is rounded up in both.
    const ACCEPTED: [(&str, u64, &str); 41] = [
        ("64Mi", 64 << 20, "64Mi"),
        ("5Gi", 5 << 30, "5Gi"),
        ("+1Gi", 1 << 30, "1Gi"),
        ("00064Mi", 64 << 20, "64Mi"),
        ("1024Mi", 1 << 30, "1Gi"),
        ("1536Mi", 1536 << 20, "1536Mi"),
        ("1000Gi", 1000 << 30, "1000Gi"),
        ("2048Ti", 2 << 50, "2Pi"),
        ("1Pi", 1 << 50, "1Pi"),
        ("1Ei", 1 << 60, "1Ei"),
        ("1.5Gi", 1_610_612_736, "1536Mi"),
        (".5Gi", 512 << 20, "512Mi"),
        ("1.Gi", 1 << 30, "1Gi"),
        ("0.5Ti", 512 << 30, "512Gi"),
        ("0.1Gi", 107_374_183, "107374183"),
        ("512.5Ki", 524_800, "524800"),
        ("1.00000000000000000000000000000000000001Gi", (1 << 30) + 1, "1073741825"),
        ("1073741824", 1 << 30, "1073741824"),
        ("1073741824.5", (1 << 30) + 1, "1073741825"),
        ("1024000", 1_024_000, "1024k"),
        ("100M", 100_000_000, "100M"),
        ("1G", 1_000_000_000, "1G"),
        ("5000M", 5_000_000_000, "5G"),
        ("1.5G", 1_500_000_000, "1500M"),
        ("1P", 1_000_000_000_000_000, "1P"),
        ("1E", 1_000_000_000_000_000_000, "1E"),
        ("100000000000m", 100_000_000, "100M"),
        ("100000000000000u", 100_000_000, "100M"),
        ("100000000000000001n", 100_000_001, "100000001"),
        ("1e9", 1_000_000_000, "1e9"),
        ("1E9", 1_000_000_000, "1e9"),
        ("1e+9", 1_000_000_000, "1e9"),
        ("12e3", 12_000, "12e3"),
        ("1.5e9", 1_500_000_000, "1500e6"),
        ("1e10", 10_000_000_000, "10e9"),
        ("1000000000000e-3", 1_000_000_000, "1e9"),
        ("0.000000000001e21", 1_000_000_000, "1e9"),
        ("1e-400", 1, "1"),
        ("9223372036854775807", i64::MAX.unsigned_abs(), "9223372036854775807"),
        ("99999999999Ti", i64::MAX.unsigned_abs(), "9223372036854775807"),
        ("0", 0, "0"),
    ];

    #[test]
    fn a_quantity_that_kubernetes_accepts_is_accepted_and_has_the_api_servers_form() {
        for (text, bytes, canonical) in ACCEPTED {
            let quantity = ByteQuantity::parse(text).unwrap_or_else(|| panic!("{text} is rejected"));
            assert_eq!((quantity.bytes(), quantity.to_string().as_str()), (bytes, canonical), "{text}");
        }
    }

    #[test]
    fn a_quantity_beyond_a_signed_64_bit_number_is_capped() {
        for text in ["8Ei", "10E", "1e19", "1e30", "1e400", "1e9223372036854775807", "18446744073709551616"] {
            assert_eq!(ByteQuantity::parse(text).unwrap().bytes(), MAX_BYTES, "{text}");
        }
    }

    #[test]
    fn a_negative_or_malformed_quantity_is_rejected() {
        for text in [
            "",
            "Gi",
            ".",
            "+",
            "-",
            "-1Gi",
            "-0",
            "1.5.5Gi",
            "1e",
            "1e2.5",
            "1ek",
            "1e9Gi",
            "1ki",
            "1K",
            "1KiB",
            " 1Gi",
            "1Gi ",
            "1 Gi",
            "0x10Mi",
            "1_000Mi",
            "１Gi",
            "++1Gi",
            "1e9223372036854775808",
            "lots",
        ] {
            assert_eq!(ByteQuantity::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_formatted_quantity_parses_to_itself(
            number in "[0-9]{0,20}\\.?[0-9]{1,20}",
            suffix in "([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?",
        ) {
            let quantity = ByteQuantity::parse(&format!("{number}{suffix}")).unwrap();
            let again = ByteQuantity::parse(&quantity.to_string()).unwrap();
            prop_assert_eq!(again.bytes(), quantity.bytes());
            prop_assert_eq!(again.to_string(), quantity.to_string());
        }
    }
}

//! Reads a CA bundle: a PEM file of certificate authorities to trust besides the public ones.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use reqwest::Certificate;
use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

/// The largest CA bundle, in bytes: no ConfigMap or Secret can be larger.
const MAX: usize = 1024 * 1024;

/// Why a CA bundle cannot be used. No message quotes the file, which may be a private key.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("it has more than {MAX} bytes")]
    TooLarge,
    #[error("it is not valid PEM from certificate {number} on ({problem})")]
    Pem { number: usize, problem: &'static str },
    #[error("its certificate {number} is not that of an authority that can be trusted ({source})")]
    Authority { number: usize, source: rustls::Error },
    #[error(transparent)]
    Unusable(#[from] reqwest::Error),
    #[error("it contains no certificate: add your CA certificates in PEM (-----BEGIN CERTIFICATE-----)")]
    None,
}

impl Problem {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Problem::File(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads the certificates in a PEM file: at least one.
///
/// # Errors
/// When the file cannot be read or is too large, or as [`parse`].
pub fn read(path: &Path) -> Result<Vec<Certificate>, Problem> {
    parse(&contents(path)?)
}

/// Reads a PEM file without parsing it.
///
/// # Errors
/// When the file cannot be read or is too large.
pub fn contents(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut contents = Vec::new();
    // One byte more than the limit tells a file of this size from a larger one.
    File::open(path)?.take(MAX as u64 + 1).read_to_end(&mut contents)?;
    if contents.len() > MAX { Err(Problem::TooLarge) } else { Ok(contents) }
}

/// Parses the certificates of a PEM file: at least one. Text between them is ignored, as in the bundles of trust-manager.
///
/// # Errors
/// When it is not PEM, has no certificate, or one that cannot be trusted as an authority.
pub fn parse(contents: &[u8]) -> Result<Vec<Certificate>, Problem> {
    let mut certificates = Vec::new();
    for (index, der) in CertificateDer::pem_slice_iter(contents).enumerate() {
        let number = index + 1;
        let der = der.map_err(|error| Problem::Pem { number, problem: kind(&error) })?;
        // reqwest does not parse a certificate before it builds a client, whose error names neither file nor certificate.
        RootCertStore::empty().add(der.clone()).map_err(|source| Problem::Authority { number, source })?;
        certificates.push(Certificate::from_der(&der)?);
    }
    if certificates.is_empty() { Err(Problem::None) } else { Ok(certificates) }
}

/// The kind of a PEM error. Its own message quotes the line.
fn kind(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "an END line is missing",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "a line is not base64",
        pem::Error::SectionTooLarge => "a section is too large",
        pem::Error::Io(_) | pem::Error::NoItemsFound => "it cannot be read",
        #[allow(clippy::wildcard_enum_match_arm, reason = "this enum is rustls's, and more of it may come")]
        _ => "it is malformed",
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn authority() -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_certificates_of_a_bundle_are_found_between_other_text() {
        let key = KeyPair::generate().unwrap().serialize_pem();
        let bundle = format!("# Our root\n{}\n# Another one\n{key}{}", authority(), authority());
        assert_eq!(parse(bundle.as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn a_bundle_that_does_not_parse_says_which_certificate_and_quotes_nothing() {
        let good = authority();
        let secret = "c2VjcmV0";
        let cut = good.split_once("-----END").unwrap().0;
        for (bundle, problem) in [
            (String::new(), "it contains no certificate: add your CA certificates in PEM"),
            (KeyPair::generate().unwrap().serialize_pem(), "it contains no certificate"),
            ("<html>Sign in</html>".to_owned(), "it contains no certificate"),
            (format!("{good}{cut}"), "it is not valid PEM from certificate 2 on (an END line is missing)"),
            (
                "-----BEGIN CERTIFICATE-----\n?s3cret?\n-----END CERTIFICATE-----\n".to_owned(),
                "it is not valid PEM from certificate 1 on (a line is not base64)",
            ),
            (
                format!("{good}-----BEGIN CERTIFICATE-----\n{secret}\n-----END CERTIFICATE-----\n"),
                "its certificate 2 is not that of an authority that can be trusted (",
            ),
        ] {
            let found = parse(bundle.as_bytes()).unwrap_err().to_string();
            assert!(found.starts_with(problem), "{bundle}: {found}");
            assert!(!found.contains("s3cret") && !found.contains(secret), "{found}");
        }
    }

    #[test]
    fn a_missing_file_is_told_from_one_that_is_too_large() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX as u64 + 1).unwrap();
        assert_eq!(read(file.path()).unwrap_err().to_string(), "it has more than 1048576 bytes");
        assert!(!read(file.path()).unwrap_err().is_missing());
        assert!(read(Path::new("/no/such/file")).unwrap_err().is_missing());
    }
}

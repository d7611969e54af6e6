//! Reads a CA bundle: a PEM file of certificate authorities to trust besides the public ones.

use std::path::Path;

use reqwest::Certificate;

/// Why a CA bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Pem(#[from] reqwest::Error),
    #[error("it contains no certificate")]
    None,
}

/// Reads the certificates in a PEM file: at least one.
///
/// # Errors
/// When the file cannot be read, is not PEM, or has no certificate.
pub fn read(path: &Path) -> Result<Vec<Certificate>, Problem> {
    let certificates = Certificate::from_pem_bundle(&std::fs::read(path)?)?;
    if certificates.is_empty() { Err(Problem::None) } else { Ok(certificates) }
}

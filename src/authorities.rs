//! Reads a file of certificates of authorities that are to be trusted besides the public ones.

use std::path::Path;

use reqwest::Certificate;

/// Why there is nothing to trust.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Pem(#[from] reqwest::Error),
    #[error("there is none in it")]
    None,
}

/// The certificates in a file, in PEM: at least one.
///
/// # Errors
/// When the file cannot be read, is no PEM, or has no certificate.
pub fn read(path: &Path) -> Result<Vec<Certificate>, Problem> {
    let certificates = Certificate::from_pem_bundle(&std::fs::read(path)?)?;
    if certificates.is_empty() { Err(Problem::None) } else { Ok(certificates) }
}

//! A private certificate authority: a root for trust stores, and an intermediate that signs server certificates.
//! Processes share it by its directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// A root and its intermediate.
#[derive(Debug)]
pub struct CertificateAuthority {
    /// The file with the root's certificate, for trust stores.
    pub root: PathBuf,
    chain: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate, in PEM.
#[derive(Debug)]
pub struct Certificate {
    pub own: String,
    /// The intermediate's certificate, which a client needs to verify up to the root.
    pub chain: String,
    pub key: String,
}

impl CertificateAuthority {
    /// Opens the authority in this directory, and creates it if there is none.
    ///
    /// # Errors
    /// If its files cannot be read or written.
    pub fn at(directory: &Path) -> Result<Self> {
        let [root, chain, key] = ["root.crt", "issuing.crt", "issuing.key"].map(|file| directory.join(file));
        if !key.exists() {
            let (root_key, issuing_key) = (KeyPair::generate()?, KeyPair::generate()?);
            let above = authority("Root of the tests")?;
            fs::write(&root, above.self_signed(&root_key)?.pem())?;
            let issuing = issuing()?.signed_by(&issuing_key, &Issuer::new(above, root_key))?;
            fs::write(&chain, issuing.pem())?;
            fs::write(&key, issuing_key.serialize_pem())?;
        }
        let issuer = Issuer::new(issuing()?, KeyPair::from_pem(&fs::read_to_string(key)?)?);
        Ok(CertificateAuthority { root, chain: fs::read_to_string(chain)?, issuer })
    }

    /// Issues a certificate for `host` that expires on the last day of `year`.
    ///
    /// # Errors
    /// If `host` is not a valid host name.
    pub fn certify(&self, host: &str, year: i32) -> Result<Certificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 12, 31));
        let own = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { own, chain: self.chain.clone(), key: key.serialize_pem() })
    }
}

fn issuing() -> Result<CertificateParams> {
    authority("Issuing authority of the tests")
}

fn authority(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

//! An authority of the tests' own, as a company has one: a root, which others are told to trust, and an authority below
//! it, which signs the servers' certificates. Several processes may use one, by its directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// The authority below the root.
#[derive(Debug)]
pub struct Authority {
    /// The file with the root's certificate: what is to be trusted.
    pub root: PathBuf,
    chain: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate, in PEM.
#[derive(Debug)]
pub struct Certificate {
    pub own: String,
    /// What it was signed with, without which nobody finds the way to the root.
    pub chain: String,
    pub key: String,
}

impl Authority {
    /// The one in this directory; it is founded there if there is none.
    ///
    /// # Errors
    /// When its files cannot be read or written.
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
        Ok(Authority { root, chain: fs::read_to_string(chain)?, issuer })
    }

    /// A certificate for `host` that ends with the last day of `year`.
    ///
    /// # Errors
    /// When that is no name of a host.
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

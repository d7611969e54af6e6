//! Keys and certificates of one cluster, generated for each start and useless outside it.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// The cluster's only certificate authority, for servers, clients and etcd.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate and its key.
#[derive(Clone)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

impl Authority {
    /// Creates the authority, and the key pair that signs ServiceAccount tokens.
    pub fn create(dir: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "linktree-webhook-operator test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?;
        fs::write(dir.join("ca.crt"), certificate.pem())?;
        // For the controller manager, which signs CertificateSigningRequests.
        write_private(&dir.join("ca.key"), &key.serialize_pem())?;
        let accounts = KeyPair::generate()?;
        write_private(&dir.join("service-accounts.key"), &accounts.serialize_pem())?;
        fs::write(dir.join("service-accounts.pub"), accounts.public_key_pem())?;
        Ok(Self { dir: dir.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Issues a certificate for a server with these names and addresses, also valid for a client (etcd).
    pub fn server(&self, name: &str, user: &str, addresses: &[String]) -> Result<Pair> {
        self.issue(name, user, None, addresses)
    }

    /// Issues a certificate that authenticates a user and its RBAC group.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<Pair> {
        self.issue(name, user, group, &[])
    }

    fn issue(&self, name: &str, user: &str, group: Option<&str>, addresses: &[String]) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(addresses.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !addresses.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair =
            Pair { certificate: self.dir.join(format!("{name}.crt")), key: self.dir.join(format!("{name}.key")) };
        fs::write(&pair.certificate, certificate.pem())?;
        write_private(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }
}

/// The API server's names and addresses, for clients outside and in pods.
pub fn api_server_names(address: Ipv4Addr) -> Vec<String> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut all: Vec<String> = names.map(str::to_owned).to_vec();
    all.extend(["kubernetes.default.svc.cluster.local", "127.0.0.1", "10.96.0.1"].map(str::to_owned));
    if !address.is_loopback() {
        all.push(address.to_string());
    }
    all
}

//! An operator's own certificates, as files.

use std::path::Path;

use hands_link::{TlsKeys, pem};
use hands_types::ErrorClass;
use rustls_pki_types::CertificateDer;

use crate::cli::HubArgs;
use crate::problem::Problem;

/// `--tls-cert` and `--tls-key`.
pub(super) fn public(args: &HubArgs) -> Result<Option<TlsKeys>, Problem> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let chain = certificates("--tls-cert", certificate)?;
    let key = pem::private_key(&read("--tls-key", key)?)
        .ok_or_else(|| wrong("--tls-key", key, "holds no private key in PEM"))?;
    Ok(Some(TlsKeys { chain, key }))
}

/// `--client-ca`.
pub(super) fn client_authorities(args: &HubArgs) -> Result<Vec<CertificateDer<'static>>, Problem> {
    match &args.client_ca {
        Some(file) => certificates("--client-ca", file),
        None => Ok(Vec::new()),
    }
}

fn certificates(flag: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    pem::certificates(&read(flag, file)?)
        .filter(|all| !all.is_empty())
        .ok_or_else(|| wrong(flag, file, "holds no certificates in PEM"))
}

fn read(flag: &str, file: &Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(file).map_err(|error| wrong(flag, file, &format!("can't be read: {error}")))
}

fn wrong(flag: &str, file: &Path, why: &str) -> Problem {
    Problem::new(ErrorClass::Config, format!("{flag}: {} {why}", file.display()))
}

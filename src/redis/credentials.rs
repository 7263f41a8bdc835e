//! The password and the certificates, read from their files whenever a connection is made.
//!
//! Takes the files that the settings name and gives their checked content, so that a connection
//! made after a rotation uses what is there then. Errors name the member and the path, never the
//! content. The system's certificate authorities, where no file of them is named, are read once,
//! when the client is made, and not for each connection.

use std::path::PathBuf;
use std::sync::Arc;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::error_text::Cause;
use super::settings::{RedisServers, RedisSettings, RedisUrl};
use crate::error_chain::chain;
use crate::tls::{
    CertificateFacts, CertificateStatus, ClientTlsFiles, TlsError, content_hash, system,
};
use crate::watch::named_file::NamedFile;
use crate::watch::secret_file::{SecretFile, SecretFileError};

/// A file that connections to Redis need cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisCredentialsError {
    /// The password's file cannot be used.
    #[error(transparent)]
    Password(#[from] SecretFileError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl RedisCredentialsError {
    /// The member of the configuration that is to blame.
    pub fn member(&self) -> String {
        match self {
            Self::Password(error) => error.member().to_owned(),
            Self::Tls(error) => error.member(),
        }
    }
}

const TLS: &str = "source.redis.tls";

/// The files' names, and the certificate authorities where no file names them.
#[derive(Debug, Clone)]
pub(crate) struct CredentialFiles {
    password: Option<NamedFile>,
    tls: ClientTlsFiles,
    authorities: Arc<RootCertStore>,
}

pub(crate) struct Credentials {
    pub(crate) password: Option<Zeroizing<String>>,
    pub(crate) tls: Arc<ClientConfig>,
    /// The same as PEM, for the client of clusters.
    pub(crate) certs: TlsCertificates,
    /// What is reported of the certificates.
    pub(crate) certificates: CertificateFacts,
    /// Of all the files.
    pub(crate) content_hash: blake3::Hash,
}

pub(crate) fn paths(settings: &RedisSettings) -> impl Iterator<Item = &PathBuf> {
    let password = settings.password_file.iter().map(NamedFile::as_path_buf);
    password.chain(settings.tls.paths())
}

impl CredentialFiles {
    /// Checks that the files of the settings can be used. Gives what is reported of the
    /// certificates beside, where some are named. Blocks.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(crate) fn open(
        settings: &RedisSettings,
    ) -> Result<(Self, Option<CertificateStatus>), RedisCredentialsError> {
        let uses_tls = settings.servers.urls().iter().any(RedisUrl::is_tls);
        if uses_tls && matches!(settings.servers, RedisServers::Cluster(_)) {
            system::check_all(TLS)?;
        }
        let files = Self {
            password: settings.password_file.clone(),
            tls: settings.tls.clone(),
            authorities: settings.tls.default_authorities(TLS, uses_tls)?,
        };
        let read = files.read()?.certificates;
        let certificates = files.tls.status(TLS, read);
        Ok((files, certificates))
    }

    /// Reads all of them. Blocks.
    fn read(&self) -> Result<Credentials, RedisCredentialsError> {
        let password = self.password.as_ref().map(read_password).transpose()?;
        let tls = self.tls.read(TLS, &self.authorities)?;
        let password_bytes = password.as_ref().map(|password| password.as_bytes());
        let content_hash = content_hash([password_bytes, Some(tls.facts.content_hash.as_bytes())]);
        let (cert, key) = tls.identity.unzip();
        let client_tls = cert.zip(key).map(|(cert, key)| ClientTlsConfig {
            client_cert: cert,
            client_key: key.to_vec(),
        });
        Ok(Credentials {
            password,
            tls: Arc::new(tls.config),
            certs: TlsCertificates {
                client_tls,
                root_cert: tls.ca,
            },
            certificates: tls.facts,
            content_hash,
        })
    }

    /// Reads all of them, with the hash of their contents. Blocks.
    pub(crate) fn read_hashed(&self) -> Result<(Credentials, blake3::Hash), RedisCredentialsError> {
        let credentials = self.read()?;
        let hash = credentials.content_hash;
        Ok((credentials, hash))
    }

    /// Reads all of them on a thread that may block.
    pub(crate) async fn load(&self) -> Result<Credentials, Cause> {
        let files = self.clone();
        match tokio::task::spawn_blocking(move || files.read()).await {
            Ok(read) => read.map_err(|error| chain(&error).into()),
            Err(_) => Err("reading the password and certificates was stopped".into()),
        }
    }
}

fn read_password(path: &NamedFile) -> Result<Zeroizing<String>, SecretFileError> {
    SecretFile {
        member: "source.redis.password_file",
        path,
        wanted: "a password: it is empty, longer than a line or not UTF-8",
    }
    .read()
}

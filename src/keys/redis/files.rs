//! The password and the certificates, read from their files whenever a connection is made.
//!
//! Takes the files that the settings name and gives what is in them, proved to be usable, so that a connection made after
//! a rotation uses what is there then. Problems name the member and the path, never the content. The system's authorities,
//! where no file of them is named, are read when the source is made and not for each connection.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::fault::Reason;
use super::settings::{RedisServers, RedisSettings, RedisUrl};
use crate::error_chain::chain;
use crate::tls::{CertificateStatus, ClientTlsFiles, Contents, TlsFilesError, mark, system};
use crate::watch::named_file::NamedFile;
use crate::watch::secret_file::{self, NoSecret};

/// A file that a Redis source needs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisSourceError {
    /// The password's file cannot be read.
    #[error("source.redis.password_file: {} cannot be read", path.display())]
    Read {
        /// The file.
        path: NamedFile,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// What a file holds is not a password.
    #[error("source.redis.password_file: {} does not hold a password: it is empty, longer than a line or not UTF-8", path.display())]
    Password {
        /// The file.
        path: NamedFile,
    },
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
}

impl RedisSourceError {
    /// The member of the configuration that is to blame.
    pub fn member(&self) -> String {
        match self {
            Self::Read { .. } | Self::Password { .. } => "source.redis.password_file".to_owned(),
            Self::Tls(error) => error.member(),
        }
    }
}

/// Where the files of TLS are named.
const TLS: &str = "source.redis.tls";

/// The files' names, and whom to trust where none says so.
#[derive(Debug, Clone)]
pub(super) struct Files {
    password: Option<NamedFile>,
    tls: ClientTlsFiles,
    authorities: Arc<RootCertStore>,
}

/// What is in the files.
pub(super) struct Material {
    /// The password.
    pub(super) password: Option<Zeroizing<String>>,
    /// What handshakes of TLS are made with.
    pub(super) tls: Arc<ClientConfig>,
    /// The same as PEM, for the client of clusters.
    pub(super) certs: TlsCertificates,
    /// What is told of the files of TLS.
    pub(super) certificates: Contents,
    /// Differs where any content does.
    pub(super) mark: blake3::Hash,
}

/// Why there is no [`Material`].
pub(super) struct Unusable {
    /// Told in full.
    pub(super) why: Reason,
    /// Whether it is the files of TLS that cannot be used.
    pub(super) of_certificates: bool,
}

/// The files that the settings name.
pub(super) fn paths(settings: &RedisSettings) -> impl Iterator<Item = &PathBuf> {
    let password = settings.password_file.iter().map(NamedFile::as_path_buf);
    password.chain(settings.tls.paths())
}

impl Files {
    /// Names the files of the settings, and proves that all that is needed can be used. Gives what is told of the certificates beside,
    /// where some are named. Blocks.
    pub(super) fn prove(
        settings: &RedisSettings,
    ) -> Result<(Self, Option<CertificateStatus>), RedisSourceError> {
        let is_spoken = settings.servers.urls().iter().any(RedisUrl::is_tls);
        if is_spoken && matches!(settings.servers, RedisServers::Cluster(_)) {
            system::prove_all(TLS)?;
        }
        let files = Self {
            password: settings.password_file.clone(),
            tls: settings.tls.clone(),
            authorities: settings.tls.default_authorities(TLS, is_spoken)?,
        };
        let read = files.read()?.certificates;
        let certificates = CertificateStatus::new(TLS, &files.tls, read);
        Ok((files, certificates))
    }

    /// Reads all of them. Blocks.
    fn read(&self) -> Result<Material, RedisSourceError> {
        let password = self.password.as_ref().map(read_password).transpose()?;
        let tls = self.tls.read(TLS, &self.authorities)?;
        let password_bytes = password.as_ref().map(|password| password.as_bytes());
        let mark = mark([password_bytes, Some(tls.contents.mark.as_bytes())]);
        let (cert, key) = tls.identity.unzip();
        let client_tls = cert.zip(key).map(|(cert, key)| ClientTlsConfig {
            client_cert: cert,
            client_key: key.to_vec(),
        });
        Ok(Material {
            password,
            tls: Arc::new(tls.config),
            certs: TlsCertificates {
                client_tls,
                root_cert: tls.ca,
            },
            certificates: tls.contents,
            mark,
        })
    }

    /// Reads all of them on a thread that may block.
    pub(super) async fn load(&self) -> Result<Material, Reason> {
        self.load_anew().await.map_err(|unusable| unusable.why)
    }

    /// As [`Self::load`], for whoever follows the files.
    pub(super) async fn load_anew(&self) -> Result<Material, Unusable> {
        let files = self.clone();
        match tokio::task::spawn_blocking(move || files.read()).await {
            Ok(Ok(material)) => Ok(material),
            Ok(Err(error)) => Err(Unusable {
                why: chain(&error).into(),
                of_certificates: matches!(error, RedisSourceError::Tls(_)),
            }),
            Err(_) => Err(Unusable {
                why: "reading the password and certificates was stopped".into(),
                of_certificates: false,
            }),
        }
    }
}

fn read_password(path: &NamedFile) -> Result<Zeroizing<String>, RedisSourceError> {
    secret_file::read(path).map_err(|why| match why {
        NoSecret::Read(cause) => RedisSourceError::Read {
            path: path.clone(),
            cause,
        },
        NoSecret::Content => RedisSourceError::Password { path: path.clone() },
    })
}

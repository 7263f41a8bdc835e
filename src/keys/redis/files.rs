//! The password and the certificates, read from their files whenever a connection is made.
//!
//! Takes the files that the settings name and gives what is in them, checked to be of its form, so that a connection made after
//! a rotation uses what is there then. Problems name the member and the path, never the content. Also tells when files have
//! changed and stand still, so that a connection need not break before the new password is tried.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::super::stillness::{STILL_FOR, Sighting};
use super::super::tls::ClientTlsFiles;
use super::fault::{Reason, chain};
use super::settings::RedisSettings;

/// A file that a Redis source needs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisSourceError {
    /// It cannot be read.
    #[error("{member}: {} cannot be read", path.display())]
    Read {
        /// The member of the configuration that names it.
        member: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("{member}: {} {problem}", path.display())]
    Content {
        /// The member of the configuration that names it.
        member: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The files' names.
#[derive(Debug, Clone)]
pub(super) struct Files {
    password: Option<PathBuf>,
    tls: ClientTlsFiles,
}

/// What is in the files.
pub(super) struct Material {
    /// The password.
    pub(super) password: Option<Zeroizing<String>>,
    /// The certificates, as PEM.
    pub(super) tls: TlsCertificates,
    /// Differs where any content does.
    pub(super) mark: blake3::Hash,
}

const PASSWORD: &str = "source.redis.password_file";
const CA: &str = "source.redis.tls.ca_file";
const CERT: &str = "source.redis.tls.cert_file";
const KEY: &str = "source.redis.tls.key_file";

impl Files {
    pub(super) fn of(settings: &RedisSettings) -> Self {
        Self {
            password: settings.password_file.clone(),
            tls: settings.tls.clone(),
        }
    }

    /// Reads all of them. Blocks.
    pub(super) fn read(&self) -> Result<Material, RedisSourceError> {
        let mut mark = blake3::Hasher::new();
        let mut get = |member, path: Option<&PathBuf>| {
            let Some(path) = path else { return Ok(None) };
            let read = std::fs::read(path).map(Zeroizing::new);
            let content = read.map_err(|source| RedisSourceError::Read {
                member,
                path: path.clone(),
                source,
            })?;
            mark.update(blake3::hash(&content).as_bytes());
            let problem = problem_of(member, &content);
            match problem {
                None => Ok(Some(content)),
                Some(problem) => Err(RedisSourceError::Content {
                    member,
                    path: path.clone(),
                    problem,
                }),
            }
        };
        let identity = self.tls.identity.as_ref();
        let password = get(PASSWORD, self.password.as_ref())?;
        let ca = get(CA, self.tls.ca.as_ref())?;
        let cert = get(CERT, identity.map(|identity| &identity.cert))?;
        let key = get(KEY, identity.map(|identity| &identity.key))?;
        let client_tls = cert.zip(key).map(|(cert, key)| ClientTlsConfig {
            client_cert: cert.to_vec(),
            client_key: key.to_vec(),
        });
        Ok(Material {
            password: password.and_then(|content| password_in(&content).map(Zeroizing::new)),
            tls: TlsCertificates {
                client_tls,
                root_cert: ca.map(|ca| ca.to_vec()),
            },
            mark: mark.finalize(),
        })
    }

    /// Reads all of them on a thread that may block.
    pub(super) async fn load(&self) -> Result<Material, Reason> {
        let files = self.clone();
        match tokio::task::spawn_blocking(move || files.read()).await {
            Ok(Ok(material)) => Ok(material),
            Ok(Err(error)) => Err(chain(&error).into()),
            Err(_) => Err("reading the password and certificates was stopped".into()),
        }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let identity = self.tls.identity.iter();
        let identity = identity.flat_map(|identity| [&identity.cert, &identity.key]);
        let others = [self.password.as_ref(), self.tls.ca.as_ref()];
        others
            .into_iter()
            .flatten()
            .chain(identity)
            .map(PathBuf::as_path)
    }

    /// Comes back when a file has changed since `seen` and none has changed for a moment, with how they are then.
    /// Certificate and key are two files, and some tools replace them one after the other.
    pub(super) async fn changed(&self, seen: &Seen) -> Seen {
        let mut last = Arc::clone(&seen.0);
        loop {
            tokio::time::sleep(STILL_FOR).await;
            let now = self.look().await;
            if now.0 != seen.0 && now.0 == last {
                return now;
            }
            last = now.0;
        }
    }

    /// How the files are now.
    pub(super) async fn look(&self) -> Seen {
        let files = self.clone();
        let look = move || files.paths().map(Sighting::of).collect();
        Seen(
            tokio::task::spawn_blocking(look)
                .await
                .unwrap_or_else(|_| Arc::from([])),
        )
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.paths().next().is_none()
    }
}

/// How the files were at a moment.
#[derive(Debug)]
pub(super) struct Seen(Arc<[Sighting]>);

fn problem_of(member: &str, content: &[u8]) -> Option<&'static str> {
    let one_cert = || {
        CertificateDer::pem_slice_iter(content)
            .next()
            .is_some_and(|first| first.is_ok())
    };
    match member {
        PASSWORD => password_in(content)
            .is_none()
            .then_some("does not hold a password: it is empty, longer than a line or not UTF-8"),
        KEY => PrivateKeyDer::from_pem_slice(content)
            .is_err()
            .then_some("does not hold a private key in PEM's form"),
        _ => (!one_cert()).then_some("does not hold a certificate in PEM's form"),
    }
}

/// The password of a file's content; one final newline is not part of it.
fn password_in(content: &[u8]) -> Option<String> {
    let content = content
        .strip_suffix(b"\n")
        .map_or(content, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    let text = std::str::from_utf8(content).ok()?;
    (!text.is_empty() && !text.contains('\n')).then(|| text.to_owned())
}

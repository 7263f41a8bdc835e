//! Rotation of the password and the certificates: the connection is replaced when their files
//! change.
//!
//! The server's refusal of a new password is no reason to read the file again, nor to offer a wrong
//! password every second: the next attempt is made when a file changes or a connection is needed.

use super::super::credentials::{Credentials, RedisCredentialsError};
use super::super::error_text::Cause;
use super::RedisClient;
use crate::mutex::lock;
use crate::watch::{ReadOutcome, SETTLE_TIME};

impl RedisClient {
    /// Replaces the connection when the files hold something other than it was made with. Never
    /// ends.
    pub(super) async fn follow_files(&self) {
        let mut files = self.files.clone();
        let credentials = self.connector.files().clone();
        let read = move || credentials.read_hashed();
        loop {
            match files
                .next_read(SETTLE_TIME, &*self.clock, read.clone())
                .await
            {
                ReadOutcome::Usable { value, .. } => self.use_credentials(&value).await,
                ReadOutcome::Unusable {
                    error,
                    problem,
                    report: true,
                    ..
                } => {
                    log_refused(&problem);
                    if let Some(certificates) = &self.certificates
                        && matches!(error, RedisCredentialsError::Tls(_))
                    {
                        certificates.note_refused(&problem);
                    }
                }
                ReadOutcome::Changing | ReadOutcome::Unusable { report: false, .. } => {}
            }
        }
    }

    async fn use_credentials(&self, credentials: &Credentials) {
        // New connections are made with them from now on, whatever becomes of the current one.
        if let Some(certificates) = &self.certificates {
            certificates.note_used(credentials.certificates, self.clock.now());
        }
        match self.reconnect_with(credentials).await {
            Ok(true) => tracing::info!(
                source = "redis",
                "password or certificates changed and are in use"
            ),
            Ok(false) => {}
            Err(cause) => log_refused(&cause),
        }
    }

    /// Replaces a connection that was made with other credentials. Whether there was one.
    pub(crate) async fn reconnect_with(&self, credentials: &Credentials) -> Result<bool, Cause> {
        let is_outdated = lock(&self.state)
            .live
            .as_ref()
            .is_some_and(|live| live.content_hash != credentials.content_hash);
        if is_outdated {
            self.renew().await?;
        }
        Ok(is_outdated)
    }
}

fn log_refused(why: &str) {
    tracing::error!(
        source = "redis",
        why,
        "password or certificates changed and cannot be used; the connection stays"
    );
}

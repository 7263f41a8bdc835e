//! Why serving failed, at start or later.
//!
//! One enum for `keyward serve`, so that the command line can tell what the operator must correct
//! (exit code 3) from a failure at run time (exit code 1). An error that is returned is not logged.

use std::io;

use super::socket::BindError;
use crate::config::ConfigError;
use crate::keys::file::LoadError;

/// Serving failed, at start or later.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration cannot be used, or a file that it names.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] LoadError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gives no threads or no signals.
    #[error("the server cannot be started")]
    Start(#[source] io::Error),
    /// The process has a global log already.
    #[error("the process has a log already")]
    LogTaken,
    /// A metric cannot be made.
    #[error("the metrics cannot be made")]
    Metrics(#[from] prometheus::Error),
    /// Reflection cannot be offered.
    #[error("gRPC reflection cannot be offered")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A part of the server ended by itself.
    #[error("the task `{task}` {}", if *panicked { "panicked" } else { "ended by itself" })]
    TaskEnded {
        /// Which one.
        task: &'static str,
        /// Whether it panicked.
        panicked: bool,
    },
    /// A second signal came before the drain was over.
    #[error("a second signal ended the drain: checks in flight were cut off")]
    DrainCutShort,
}

impl ServeError {
    /// Whether the cause is what the operator wrote: configuration, keys or certificates.
    pub fn is_bad_configuration(&self) -> bool {
        match self {
            Self::Config(_) | Self::Keys(_) => true,
            Self::Bind(_)
            | Self::Start(_)
            | Self::LogTaken
            | Self::Metrics(_)
            | Self::Reflection(_)
            | Self::TaskEnded { .. }
            | Self::DrainCutShort => false,
        }
    }
}

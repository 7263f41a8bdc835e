//! Why a new configuration is not adopted.
//!
//! Besides mistakes in the file there are two reasons: it changes something that needs a restart,
//! or the current keys cannot be used with it. In the latter case it is tried again when the keys
//! change.

use crate::config::{ConfigError, FixedPart};

/// Why a new configuration is not adopted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadRejection {
    /// It cannot be used.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// It differs in parts that cannot change without a restart.
    #[error(
        "{} changed, which needs a restart; the new configuration is not used",
        names(.0)
    )]
    NeedsRestart(Vec<FixedPart>),
    /// The keys cannot be used with it.
    #[error("the keys do not fit the new configuration: {0}")]
    KeysUnusable(String),
}

impl ReloadRejection {
    /// Whether other keys could make it usable.
    pub(super) fn is_of_keys(&self) -> bool {
        matches!(self, Self::KeysUnusable(_))
    }
}

fn names(parts: &[FixedPart]) -> String {
    let names: Vec<String> = parts.iter().map(|part| format!("`{part}`")).collect();
    names.join(", ")
}

//! Why a new configuration is not put in force.
//!
//! Apart from a file with mistakes there are two reasons: it changes what only a restart changes, or the keys that are
//! there cannot be used with it. The latter is tried again when the keys change.

use crate::config::{ConfigError, FixedPart};

/// Why a new configuration is not put in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadRejection {
    /// It cannot be used.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// It differs in what is in force until a restart.
    #[error("{} changed, which needs a restart; nothing of the new configuration is in force", names(.0))]
    NeedsRestart(Vec<FixedPart>),
    /// The keys cannot be used with it.
    #[error("the keys do not fit the new configuration: {0}")]
    KeysDoNotFit(String),
}

impl ReloadRejection {
    /// Whether other keys could make the difference.
    pub(super) fn is_of_keys(&self) -> bool {
        matches!(self, Self::KeysDoNotFit(_))
    }
}

fn names(parts: &[FixedPart]) -> String {
    let names: Vec<String> = parts.iter().map(|part| format!("`{part}`")).collect();
    names.join(", ")
}

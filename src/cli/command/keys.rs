//! The shape of `keyward keys`: its subcommands and their arguments.
//!
//! All take the same arguments for where keys are. Secrets are printed and never taken.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigArgs, Output, examples};
use crate::authz::reason::Reason;

/// The subcommands of `keys`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeysCommand {
    /// Create a key: store its record and print its secret once
    #[command(after_help = examples::KEYS_NEW)]
    New(NewKey),
    /// List the keys in Redis
    #[command(after_help = examples::KEYS_LIST)]
    List(AllKeys),
    /// Print a key's record and state
    #[command(after_help = examples::KEYS_SHOW)]
    Show(NamedKey),
    /// Add a new secret to a key and print it once; its old secrets stay valid for the overlap
    #[command(after_help = examples::KEYS_ROTATE)]
    Rotate(RotateKey),
    /// Revoke a key: it is refused permanently
    #[command(after_help = examples::KEYS_REVOKE)]
    Revoke(NamedKey),
    /// Enable a disabled key
    #[command(after_help = examples::KEYS_ENABLE)]
    Enable(NamedKey),
    /// Disable a key until it is enabled again
    #[command(after_help = examples::KEYS_DISABLE)]
    Disable(NamedKey),
}

/// Where keys are.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeyStoreArgs {
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArgs,
    /// The key file or directory [default: the source of the configuration]. Pepper and plans come
    /// from the configuration that -c or `$KEYWARD_CONFIG` names
    #[arg(long, value_name = "PATH", conflicts_with = "redis")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// The URL of the Redis server, without user and password, which belong in the configuration
    /// [default: the source of the configuration]. Everything else comes from the configuration, if
    /// it has this server or -c or `$KEYWARD_CONFIG` names it
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) redis: Option<String>,
}

/// Arguments of `keys list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct AllKeys {
    #[command(flatten)]
    pub(in crate::cli) store: KeyStoreArgs,
    /// List only keys in this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub(in crate::cli) state: Option<KeyState>,
    /// List only keys of this client
    #[arg(long, value_name = "CLIENT")]
    pub(in crate::cli) client: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

/// What a key is at this moment. Each state has one name, wherever it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(in crate::cli) enum KeyState {
    /// One of its secrets is valid
    Active,
    /// Disabled until it is enabled again
    Disabled,
    /// Permanently refused
    Revoked,
    /// No longer valid
    Expired,
    /// Not valid yet
    NotYetValid,
}

impl KeyState {
    /// Its name.
    pub(in crate::cli) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }

    /// That of a key which is refused for that reason.
    pub(in crate::cli) fn of(reason: Reason) -> Self {
        let name = reason.as_str().strip_prefix("key_");
        let mut states = Self::value_variants().iter();
        let state = states.find(|state| name == Some(state.as_str()));
        state.copied().unwrap_or(Self::Expired)
    }
}

/// Arguments of a command on one key.
#[derive(Debug, Args)]
pub(in crate::cli) struct NamedKey {
    #[command(flatten)]
    pub(in crate::cli) store: KeyStoreArgs,
    /// The key's id
    pub(in crate::cli) id: String,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

/// Arguments of `keys rotate`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RotateKey {
    #[command(flatten)]
    pub(in crate::cli) key: NamedKey,
    /// How long the existing secrets stay valid, such as 24h
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "24h",
        allow_hyphen_values = true
    )]
    pub(in crate::cli) overlap: String,
}

/// Arguments of `keys new`.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewKey {
    #[command(flatten)]
    pub(in crate::cli) store: KeyStoreArgs,
    /// The new key's id
    #[arg(long)]
    pub(in crate::cli) id: String,
    /// The client that uses the key [default: the id]
    #[arg(long)]
    pub(in crate::cli) client: Option<String>,
    /// The key's plan
    #[arg(long)]
    pub(in crate::cli) plan: Option<String>,
    /// A scope of the key; repeatable
    #[arg(long = "scope", value_name = "S")]
    pub(in crate::cli) scopes: Vec<String>,
    /// The time from which the key is valid (RFC 3339)
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(in crate::cli) not_before: Option<String>,
    /// The time at which the key expires (RFC 3339); may be in the past
    #[arg(
        long,
        value_name = "T",
        conflicts_with = "expires_in",
        allow_hyphen_values = true
    )]
    pub(in crate::cli) expires_at: Option<String>,
    /// How long the key is valid from now, such as 90d
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(in crate::cli) expires_in: Option<String>,
    /// A metadata entry of the key; repeatable
    #[arg(long = "metadata", value_name = "K=V")]
    pub(in crate::cli) metadata: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

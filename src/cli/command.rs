//! The shape of the command line: subcommands, arguments and their help.
//!
//! Nothing is done here. Secrets are never arguments, for arguments show in process lists and shell
//! histories; where a command takes one, it reads it from a file or from standard input.

mod examples;
mod keys;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(super) use keys::{AllKeys, KeyState, KeyStoreArgs, KeysCommand, NamedKey, NewKey, RotateKey};

/// The version and, if the build was given it, the revision of the sources.
const VERSION: &str = env!("KEYWARD_VERSION");

/// An authorization server for Envoy that checks API keys, usually run as a sidecar.
#[derive(Debug, Parser)]
#[command(name = "keyward", version = VERSION, about, after_help = examples::KEYWARD)]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server
    #[command(after_help = examples::SERVE)]
    Serve(ConfigArgs),
    /// Load configuration, keys and certificates as serve does, and report every problem
    #[command(after_help = examples::CHECK_CONFIG)]
    CheckConfig(CheckConfig),
    /// Decide one request without a server and print each step; exit code 0 if allowed, 4 if denied
    #[command(after_help = examples::EXPLAIN)]
    Explain(Explain),
    /// Manage keys in a file or in Redis
    #[command(after_help = examples::KEYS)]
    Keys {
        /// What to do with keys.
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Request /readyz from the admin address, for exec probes; exit code 0 if ready
    #[command(after_help = examples::HEALTH)]
    Health(Health),
    /// Print a JSON Schema, for editors
    #[command(after_help = examples::SCHEMA)]
    Schema {
        /// The kind of file
        file: SchemaOf,
    },
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
}

/// Which configuration file to use.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The configuration file [default: `$KEYWARD_CONFIG`, then ./keyward.yaml, then
    /// /etc/keyward/keyward.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The choice of a format.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(super) output: Format,
}

/// Arguments of `check-config`.
#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Do not connect to a remote source
    #[arg(long)]
    pub(super) offline: bool,
    #[command(flatten)]
    pub(super) output: Output,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// The request's method
    #[arg(long, value_name = "M")]
    pub(super) method: String,
    /// The request's path, with its query if it has one
    #[arg(long, value_name = "P")]
    pub(super) path: String,
    /// The request's host, with its port if it names one; empty by default
    #[arg(long, value_name = "H", default_value = "", hide_default_value = true)]
    pub(super) host: String,
    /// The request's scheme, unless there is an x-forwarded-proto header
    #[arg(long, value_enum, value_name = "S", default_value_t = Scheme::Https)]
    pub(super) scheme: Scheme,
    /// A file with the secret, or - for standard input, and the credential location at which to
    /// present it: `x-api-key=F`, `authorization=F`, `query:api_key=F`, `cookie:api_key=F` (the
    /// first one by default); repeatable
    #[arg(long = "key-file", value_name = "[PLACE=]F")]
    pub(super) key_files: Vec<String>,
    /// A header of the request, but not one that holds a secret; repeatable
    #[arg(long = "header", value_name = "N: V")]
    pub(super) headers: Vec<String>,
    /// The caller's address, as Envoy sees it
    #[arg(long, value_name = "IP")]
    pub(super) source_ip: Option<IpAddr>,
    /// The rule that the Envoy route names in `context_extensions`
    #[arg(long, value_name = "NAME")]
    pub(super) rule: Option<String>,
    /// The request's body, for rules with `mcp`; not supported yet
    #[arg(long, value_name = "F")]
    pub(super) body: Option<PathBuf>,
    #[command(flatten)]
    pub(super) output: Output,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scheme {
    /// Plain HTTP
    Http,
    /// HTTP over TLS
    Https,
}

impl Scheme {
    /// As Envoy sends it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Arguments of `health`.
#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// The admin address, an IP address and a port [default: that of the configuration]
    #[arg(long, value_name = "A")]
    pub(super) address: Option<SocketAddr>,
}

/// Files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// keyward.yaml
    Config,
    /// The keys file
    Keys,
}
